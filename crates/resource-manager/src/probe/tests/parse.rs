//! Tests of the readers: what the kernel writes, and anything else.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hp_base::ManualClock;
use proptest::prelude::*;

use super::super::parse::*;
use super::{ResourceProbe, SystemProbe, TempDir};

#[test]
fn a_name_with_blanks_and_parentheses_does_not_shift_the_fields() {
    let stat = "15748 (a) (b c) R 15743 15743 13274 0 -1 4194304 97 0 0 0 150 50 0 0 20 0 1 0 33 31 39 18";
    assert_eq!(process_time(stat), Some(Duration::from_secs(2)));
    assert_eq!(process_time("15748 (a) R 1 2"), None);
    let many = format!("1 (a) R 0 0 0 0 0 0 0 0 0 0 {} 1 0", u64::MAX);
    assert_eq!(process_time(&many), None);
}

#[test]
fn waiting_for_disks_is_idle_and_guests_count_once() {
    assert_eq!(machine_ticks("cpu  10 1 2 70 10 1 1 5 9 9\ncpu0 1 1 1 1"), Some((20, 100)));
    assert_eq!(machine_ticks("cpu  10 1 2 70"), Some((13, 83)));
    assert_eq!(machine_ticks("cpu  10 1 x 70"), None);
}

#[test]
fn numbers_are_found_by_their_whole_name() {
    let text = "total_inactive_file 7\ninactive_file 8\nVmRSS:\t  3 kB\n";
    assert_eq!(
        ["inactive_file", "VmRSS", "Vm", "file"].map(|name| number_of(text, name)),
        [Some(8), Some(3072), None, None]
    );
}

#[test]
fn limits_quotas_and_their_absence() {
    assert_eq!(["123\n", "max\n", "9223372036854771712\n", "-1"].map(limit), [Some(123), None, None, None]);
    assert_eq!(["150000 100000\n", "max 100000\n", "0 0", "5"].map(quota), [Some(1.5), None, None, None]);
    assert_eq!([cores("-1\n", "100000\n"), cores("25000\n", "100000\n")], [None, Some(0.25)]);
    let limits =
        "Limit  Soft  Hard\nMax open files            20000                unlimited            files\n";
    assert_eq!(open_files_limit(limits), Some(20_000));
    assert_eq!(open_files_limit("Max open files            unlimited   unlimited files"), None);
}

#[test]
fn lists_of_cores_are_counted() {
    let of = |list: &str| n_allowed_cpus(&format!("Cpus_allowed_list:\t{list}\n"));
    assert_eq!(
        ["0", "0-3,8,10-11", "3-1", "", "0-18446744073709551615"].map(of),
        [Some(1), Some(7), None, None, None]
    );
}

#[test]
fn version_1_goes_before_version_2_where_it_has_the_controller() {
    let cgroup = "4:memory:/a:b\n1:name=systemd:/\n0::/c\n";
    assert_eq!(group_of(cgroup, "memory"), Some(("/a:b", true)));
    assert_eq!(group_of(cgroup, "cpu"), Some(("/c", false)));
    assert_eq!(group_of("1:name=systemd:/\n", "cpu"), None);
}

#[test]
fn mounts_are_found_whatever_optional_fields_they_have() {
    let text = "32 31 0:29 /x /cg/cpu rw shared:1 master:2 - cgroup cgroup rw,cpu\n\
        41 31 0:38 / /cg/unified rw - cgroup2 cgroup2 rw\n";
    assert_eq!(mount_of(text, "cpu", true), Some(Mount { root: "/x", point: "/cg/cpu" }));
    assert_eq!(mount_of(text, "cpu", false), Some(Mount { root: "/", point: "/cg/unified" }));
    assert_eq!(mount_of(text, "memory", true), None);
}

/// Text with the look of what the kernel writes, and without.
fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        any::<String>(),
        any::<u64>().prop_map(|number| number.to_string()),
        prop::sample::select(vec![
            "cpu",
            "cpu ",
            "VmRSS:",
            "kB",
            "max",
            "-1",
            "(",
            ")",
            " - ",
            "-",
            ",",
            ":",
            "::",
            "/",
            "/..",
            "\n",
            " ",
            "\t",
            "cgroup",
            "cgroup2",
            "memory",
            "inactive_file ",
            "Cpus_allowed_list:",
            "Max open files",
            "0-3",
            "nr_periods ",
            "nr_throttled ",
            "usage_usec ",
            "MemTotal:",
            "MemAvailable:",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn no_text_makes_a_reader_panic(text in text()) {
        process_time(&text);
        if let Some((used, all)) = machine_ticks(&text) {
            prop_assert!(used <= all);
        }
        number_of(&text, "VmRSS");
        limit(&text);
        number(&text);
        if let Some(cores) = quota(&text) {
            prop_assert!(cores > 0.0 && cores.is_finite());
        }
        open_files_limit(&text);
        prop_assert!(n_allowed_cpus(&text) != Some(0));
        for controller in ["cpu", "memory", ""] {
            group_of(&text, controller);
            for is_version_1 in [false, true] {
                mount_of(&text, controller, is_version_1);
            }
        }
    }
}

proptest! {
    // Each case writes some thirty files.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_files_make_the_probe_panic(texts in prop::collection::vec(text(), 2), group in text()) {
        const FILES: [&str; 15] = [
            "proc/stat", "proc/meminfo", "proc/self/stat", "proc/self/status", "proc/self/limits", "cg/cpu.max",
            "cg/cpu.stat", "cg/memory.max", "cg/memory.high", "cg/memory.current", "cg/memory.stat", "cg/cpuacct.usage",
            "cg/cpu.cfs_quota_us", "cg/cpu.cfs_period_us", "cg/memory.limit_in_bytes",
        ];
        let root = TempDir::new().unwrap();
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap_or(Path::new(""))).unwrap();
            fs::write(path, text).unwrap();
        };
        write("proc/self/cgroup", &format!("{group}\n1:cpu:/\n0::/\n"));
        write("proc/self/mountinfo", &format!("{group}\n1 1 1 / /cg rw - cgroup2 x rw\n1 1 1 / /cg rw - cgroup x cpu\n"));
        let clock = Arc::new(ManualClock::new());
        let probe = SystemProbe::with_root(root.path(), clock.clone());
        for text in &texts {
            for name in FILES {
                write(name, text);
            }
            let sample = probe.sample();
            prop_assert!(sample.cpu_quota > 0.0);
            for share in [sample.machine_cpu, sample.throttled_share].into_iter().flatten() {
                prop_assert!((0.0..=1.0).contains(&share));
            }
            clock.advance(Duration::from_secs(1));
        }
    }
}
