//! Tests of the probes: over folders that look like a machine's, and on this machine.

mod monitor;
mod parse;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hp_base::ManualClock;
use tempfile::TempDir;

use super::*;

const MIB: u64 = 1024 * 1024;

/// A folder that looks like the root of a machine with 4 cores and 1000 MiB, of which 250 are used.
struct Machine {
    root: TempDir,
    clock: Arc<ManualClock>,
}

impl Machine {
    fn new(cgroup: &str, mountinfo: &str) -> Self {
        let machine = Self { root: TempDir::new().unwrap(), clock: Arc::new(ManualClock::new()) };
        machine.write("proc/meminfo", "MemTotal: 1024000 kB\nMemFree: 1 kB\nMemAvailable: 768000 kB\n");
        machine.write("proc/self/status", "Name:\tx\nVmRSS:\t  2048 kB\nCpus_allowed_list:\t0-2,5\n");
        machine.write("proc/self/limits", "Max open files            1024       4096     files\n");
        machine.write("proc/self/cgroup", cgroup);
        machine.write("proc/self/mountinfo", mountinfo);
        for descriptor in 0..7 {
            machine.write(&format!("proc/self/fd/{descriptor}"), "");
        }
        machine.used(0, 0, 0);
        machine
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Ticks that the process and the machine have used, and that the machine was idle.
    fn used(&self, process: u64, machine: u64, idle: u64) {
        let stat = format!("7 (a) b) c) S 1 1 1 0 -1 0 0 0 0 0 {process} 0 9 9 20 0 1 0 5 5 5");
        self.write("proc/self/stat", &stat);
        self.write("proc/stat", &format!("cpu  {machine} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 1 1 1\n"));
    }

    fn probe(&self) -> SystemProbe {
        SystemProbe::with_root(self.root.path(), self.clock.clone())
    }
}

const V2_MOUNT: &str = "24 23 0:21 / /proc rw - proc proc rw\n\
    31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
const V1_MOUNTS: &str = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
    35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
    41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

#[track_caller]
fn check_close(value: Option<f64>, expected: f64) {
    assert!(value.is_some_and(|value| (value - expected).abs() < 1e-9), "{value:?} is not {expected}");
}

#[test]
fn without_limits_the_machine_counts() {
    let machine = Machine::new("0::/\n", V2_MOUNT);
    machine.write("sys/fs/cgroup/cpu.stat", "usage_usec 5\n");
    let probe = machine.probe();
    let first = probe.sample();
    assert_eq!((first.process_cpu, first.machine_cpu, first.cpu_share_used), (None, None, None));
    assert_eq!((first.n_open_files, first.open_files_limit), (Some(7), Some(1024)));
    assert_eq!((first.process_memory, first.memory_limit), (Some(2 * MIB), Some(1000 * MIB)));
    check_close(Some(first.cpu_quota), 4.0);
    check_close(first.memory_share_used, 0.25);

    machine.clock.advance(Duration::from_secs(5));
    machine.used(1_000, 1_500, 500);
    let second = probe.sample();
    check_close(second.process_cpu, 2.0);
    check_close(second.cpu_share_used, 0.5);
    check_close(second.machine_cpu, 0.75);
    assert_eq!(second.throttled_share, None);
}

#[test]
fn rates_are_those_since_the_sample_before_and_repeat_when_asked_too_soon() {
    let machine = Machine::new("0::/\n", V2_MOUNT);
    let probe = machine.probe();
    probe.sample();
    machine.clock.advance(Duration::from_secs(1));
    machine.used(100, 1, 1);
    check_close(probe.sample().process_cpu, 1.0);
    machine.clock.advance(Duration::from_millis(99));
    machine.used(101, 1, 1);
    check_close(probe.sample().process_cpu, 1.0);
    machine.clock.advance(Duration::from_millis(901));
    machine.used(120, 1, 1);
    check_close(probe.sample().process_cpu, 0.2);
}

#[test]
fn version_2_nested_the_tightest_group_counts() {
    let machine = Machine::new("0::/pod/app\n", V2_MOUNT);
    let [pod, app] = ["sys/fs/cgroup/pod", "sys/fs/cgroup/pod/app"];
    let file = |folder: &str, name: &str, text: &str| machine.write(&format!("{folder}/{name}"), text);
    file(pod, "cpu.max", "150000 100000\n");
    file(app, "cpu.max", "max 100000\n");
    file(pod, "cpu.stat", "usage_usec 0\nnr_periods 10\nnr_throttled 2\nthrottled_usec 100\n");
    file(pod, "memory.max", "524288000\n");
    file(pod, "memory.current", "500000000\n");
    file(pod, "memory.stat", "anon 1\ninactive_file 106784000\n");
    file(app, "memory.max", "max\n");
    file(app, "memory.high", "629145600\n");
    file(app, "memory.current", "62914560\n");
    let probe = machine.probe();
    let first = probe.sample();
    check_close(Some(first.cpu_quota), 1.5);
    assert_eq!(first.memory_limit, Some(500 * MIB));
    check_close(first.memory_share_used, 0.75);

    machine.clock.advance(Duration::from_secs(2));
    machine.used(30, 1, 1);
    file(pod, "cpu.stat", "usage_usec 2400000\nnr_periods 30\nnr_throttled 7\nthrottled_usec 5100\n");
    let second = probe.sample();
    check_close(second.process_cpu, 0.15);
    check_close(second.cpu_share_used, 0.8);
    check_close(second.throttled_share, 0.25);
    assert_eq!(second.throttled_time, Some(Duration::from_millis(5)));
}

#[test]
fn version_1_in_hierarchies_of_its_own() {
    let machine = Machine::new("3:cpu,cpuacct:/app\n2:memory:/box/app\n0::/\n", V1_MOUNTS);
    let cpu = "sys/fs/cgroup/cpu,cpuacct/app";
    let memory = "sys/fs/cgroup/memory/box/app";
    let file = |folder: &str, name: &str, text: &str| machine.write(&format!("{folder}/{name}"), text);
    file(cpu, "cpu.cfs_quota_us", "50000\n");
    file(cpu, "cpu.cfs_period_us", "100000\n");
    file(cpu, "cpuacct.usage", "1000000000\n");
    file(cpu, "cpu.stat", "nr_periods 0\nnr_throttled 0\nthrottled_time 0\n");
    file(memory, "memory.limit_in_bytes", "104857600\n");
    file(memory, "memory.soft_limit_in_bytes", "1048576\n");
    file(memory, "memory.usage_in_bytes", "62914560\n");
    file(memory, "memory.stat", "inactive_file 1\ntotal_inactive_file 10485760\n");
    file("sys/fs/cgroup/memory", "memory.limit_in_bytes", "9223372036854771712\n");
    let probe = machine.probe();
    let first = probe.sample();
    check_close(Some(first.cpu_quota), 0.5);
    assert_eq!(first.memory_limit, Some(100 * MIB));
    check_close(first.memory_share_used, 0.5);

    machine.clock.advance(Duration::from_secs(1));
    file(cpu, "cpuacct.usage", "1300000000\n");
    file(cpu, "cpu.stat", "nr_periods 10\nnr_throttled 5\nthrottled_time 7000000\n");
    let second = probe.sample();
    check_close(second.cpu_share_used, 0.6);
    check_close(second.throttled_share, 0.5);
    assert_eq!(second.throttled_time, Some(Duration::from_millis(7)));
}

#[test]
fn hybrid_a_controller_of_version_1_is_not_looked_for_in_version_2() {
    let machine = Machine::new("3:cpu,cpuacct:/\n2:memory:/app\n0::/app\n", V1_MOUNTS);
    machine.write("sys/fs/cgroup/unified/app/memory.max", "1048576\n");
    machine.write("sys/fs/cgroup/unified/app/cpu.max", "10000 100000\n");
    machine.write("sys/fs/cgroup/memory/app/memory.limit_in_bytes", "104857600\n");
    machine.write("sys/fs/cgroup/memory/app/memory.usage_in_bytes", "52428800\n");
    let sample = machine.probe().sample();
    check_close(Some(sample.cpu_quota), 4.0);
    assert_eq!(sample.memory_limit, Some(100 * MIB));
    check_close(sample.memory_share_used, 0.5);
}

#[test]
fn in_a_container_the_group_is_found_from_where_it_is_mounted() {
    let mount = "31 23 0:28 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
    for group in
        ["0::/docker/abc\n", "0::/\n", "0::/../../elsewhere\n", "0::/gone\n", "0::/docker/abc/gone\n"]
    {
        let machine = Machine::new(group, mount);
        machine.write("sys/fs/cgroup/memory.max", "104857600\n");
        machine.write("sys/fs/cgroup/cpu.max", "200000 100000\n");
        let sample = machine.probe().sample();
        assert_eq!((sample.memory_limit, sample.cpu_quota), (Some(100 * MIB), 2.0), "{group}");
    }
}

#[test]
fn where_there_is_nothing_nothing_is_known() {
    let root = TempDir::new().unwrap();
    let probe = SystemProbe::with_root(root.path(), Arc::new(ManualClock::new()));
    assert_eq!(probe.sample(), Resources::unknown());
    assert_eq!(NoProbe.sample(), Resources::unknown());
}

#[cfg(target_os = "linux")]
#[test]
fn this_machine_is_known() {
    let probe = SystemProbe::new();
    let before = probe.sample();
    let files: Vec<_> = (0..20).map(|_| tempfile::tempfile().unwrap()).collect();
    let memory = vec![1_u8; 64 * MIB as usize];
    let clock = std::time::Instant::now();
    let mut sum = 0_u64;
    while clock.elapsed() < Duration::from_millis(150) {
        sum = sum.wrapping_mul(31).wrapping_add(u64::from(memory[sum as usize % memory.len()]));
    }
    let after = probe.sample();
    assert!(sum > 0 && after.process_cpu.is_some_and(|cores| cores > 0.0), "{after:?}");
    assert!(after.machine_cpu.is_some_and(|share| share > 0.0 && share <= 1.0));
    assert!(
        after.process_memory > before.process_memory.map(|bytes| bytes + 32 * MIB),
        "{before:?} {after:?}"
    );
    assert!(after.memory_limit > Some(64 * MIB) && after.memory_share_used > Some(0.0));
    assert!(
        after.n_open_files >= Some(files.len() as u64 + 4) && after.open_files_limit > after.n_open_files
    );
    assert!(after.cpu_quota > 0.0 && after.cpu_quota.ceil() >= n_cpus().get() as f64);
    assert!(Path::new("/proc/self/stat").exists());
}
