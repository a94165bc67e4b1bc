//! Readers of the text that the kernel shows in `/proc` and in control groups.
//!
//! The formats are those of the manual pages proc(5) and cgroups(7) and of the kernel's admin-guide on cgroup-v1 and
//! cgroup-v2. What is not as expected is unknown, never an error.

use std::time::Duration;

/// The kernel tells user space of time in ticks of 10 ms (`USER_HZ`), whatever it uses itself.
const TICK_MILLIS: u64 = 10;

/// Limits beyond what an address can reach mean that there is none; version 1 shows such a number.
const NO_LIMIT: u64 = 1 << 62;

/// Processor time of a process, in user and kernel mode, from `/proc/self/stat`.
pub(super) fn process_time(stat: &str) -> Option<Duration> {
    // The name stands in parentheses and may contain anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let kernel: u64 = fields.next()?.parse().ok()?;
    user.checked_add(kernel)?.checked_mul(TICK_MILLIS).map(Duration::from_millis)
}

/// Ticks in which the machine's cores were used, and all of them, from `/proc/stat`.
pub(super) fn machine_ticks(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    // User, nice, system, idle, waiting for I/O, interrupts, soft interrupts, stolen. Guests are in user already.
    let ticks: Vec<u64> =
        line.split_ascii_whitespace().take(8).map_while(|field| field.parse().ok()).collect();
    let idle = ticks.get(3)?.checked_add(ticks.get(4).copied().unwrap_or(0))?;
    let all = ticks.iter().try_fold(0_u64, |sum, &ticks| sum.checked_add(ticks))?;
    Some((all - idle, all))
}

/// The number after a name and a blank or a colon; in bytes, if it is followed by `kB`.
pub(super) fn number_of(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix([':', ' ', '\t']))?;
    let mut fields = rest.split_ascii_whitespace();
    let number: u64 = fields.next()?.parse().ok()?;
    match fields.next() {
        Some("kB") => number.checked_mul(1024),
        _ => Some(number),
    }
}

/// A number that stands alone.
pub(super) fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// A limit: a number, and `max` or an enormous number for none.
pub(super) fn limit(text: &str) -> Option<u64> {
    number(text).filter(|&limit| limit < NO_LIMIT)
}

/// Cores, from `cpu.max` of version 2: quota and period in µs; none where there is no quota.
pub(super) fn quota(text: &str) -> Option<f64> {
    let mut fields = text.split_ascii_whitespace();
    cores(fields.next()?, fields.next()?)
}

/// Cores, from a quota and a period in µs; none where there is no quota.
pub(super) fn cores(quota: &str, period: &str) -> Option<f64> {
    // No quota is `max` in version 2 and -1 in version 1.
    let quota: u64 = quota.trim().parse().ok()?;
    let period: u64 = period.trim().parse().ok()?;
    // OK to cast: a float is exact enough.
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

/// The soft limit of open files, from `/proc/self/limits`; none where they are unlimited.
pub(super) fn open_files_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// How many cores a process may run on, from `/proc/self/status`.
pub(super) fn n_allowed_cpus(status: &str) -> Option<u64> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    list.trim().split(',').try_fold(0_u64, |n_cpus, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        n_cpus.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

/// The path of a controller's group, from `/proc/self/cgroup`, and whether it is of version 1.
pub(super) fn group_of<'a>(cgroup: &'a str, controller: &str) -> Option<(&'a str, bool)> {
    let lines = || cgroup.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let version_1 = lines().find(|(controllers, _)| controllers.split(',').any(|name| name == controller));
    let version_2 = || lines().find(|(controllers, _)| controllers.is_empty());
    version_1.map(|(_, path)| (path, true)).or_else(|| version_2().map(|(_, path)| (path, false)))
}

/// A mounted hierarchy of control groups.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount<'a> {
    /// The group that is seen at the mount point.
    pub(super) root: &'a str,
    /// Where it is seen.
    pub(super) point: &'a str,
}

/// Where a controller's hierarchy is mounted, from `/proc/self/mountinfo`.
pub(super) fn mount_of<'a>(mountinfo: &'a str, controller: &str, is_version_1: bool) -> Option<Mount<'a>> {
    mountinfo.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let mount = Mount { root: place.next()?, point: place.next()? };
        let mut kind = kind.split(' ');
        let is_it = match (kind.next()?, is_version_1) {
            ("cgroup2", false) => true,
            ("cgroup", true) => kind.nth(1)?.split(',').any(|option| option == controller),
            _ => false,
        };
        is_it.then_some(mount)
    })
}
