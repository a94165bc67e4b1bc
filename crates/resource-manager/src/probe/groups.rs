//! The control groups a process is in, of either version, and what they say.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::parse;

/// The chains of groups that hold the limits of this process, its own first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Groups {
    cpu: Chain,
    accounts: Chain,
    memory: Chain,
}

/// A group and those above it, as far as they can be seen.
#[derive(Debug, Default, PartialEq, Eq)]
struct Chain {
    top: PathBuf,
    folders: Vec<PathBuf>,
    is_version_1: bool,
}

/// What a group has used of the processor since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct GroupCpu {
    /// Cores it may use.
    pub(super) quota: Option<f64>,
    pub(super) used: Option<Duration>,
    pub(super) n_periods: Option<u64>,
    pub(super) n_throttled: Option<u64>,
    pub(super) throttled: Option<Duration>,
}

/// Memory that is used, and its limit, in bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Memory {
    pub(super) used: Option<u64>,
    pub(super) limit: u64,
}

impl Groups {
    /// Finds the groups under a root folder.
    pub(super) fn find(root: &Path) -> Self {
        let (Some(groups), Some(mounts)) =
            (read(&root.join("proc/self/cgroup")), read(&root.join("proc/self/mountinfo")))
        else {
            return Self::default();
        };
        let chain = |controller| Chain::find(root, &groups, &mounts, controller).unwrap_or_default();
        Self { cpu: chain("cpu"), accounts: chain("cpuacct"), memory: chain("memory") }
    }

    /// What each group says of the processor, the process's own first.
    pub(super) fn cpu(&self) -> Vec<GroupCpu> {
        self.cpu.folders.iter().map(|folder| self.cpu_of(folder)).collect()
    }

    /// What each group with a limit says of memory.
    pub(super) fn memory(&self) -> Vec<Memory> {
        self.memory.folders.iter().filter_map(|folder| memory_of(folder, self.memory.is_version_1)).collect()
    }

    fn cpu_of(&self, folder: &Path) -> GroupCpu {
        let stat = read(&folder.join("cpu.stat")).unwrap_or_default();
        let number = |name| parse::number_of(&stat, name);
        let (n_periods, n_throttled) = (number("nr_periods"), number("nr_throttled"));
        if self.cpu.is_version_1 {
            let quota = read(&folder.join("cpu.cfs_quota_us"));
            let period = read(&folder.join("cpu.cfs_period_us"));
            let used = self
                .accounts_of(folder)
                .and_then(|accounts| parse::number(&read(&accounts.join("cpuacct.usage"))?));
            GroupCpu {
                quota: quota.zip(period).and_then(|(quota, period)| parse::cores(&quota, &period)),
                used: used.map(Duration::from_nanos),
                n_periods,
                n_throttled,
                throttled: number("throttled_time").map(Duration::from_nanos),
            }
        } else {
            GroupCpu {
                quota: read(&folder.join("cpu.max")).and_then(|max| parse::quota(&max)),
                used: number("usage_usec").map(Duration::from_micros),
                n_periods,
                n_throttled,
                throttled: number("throttled_usec").map(Duration::from_micros),
            }
        }
    }
}

impl Groups {
    /// Version 1 keeps the accounts of a group in a hierarchy that may be another, with other groups.
    fn accounts_of(&self, folder: &Path) -> Option<PathBuf> {
        let accounts = self.accounts.top.join(folder.strip_prefix(&self.cpu.top).ok()?);
        (self.accounts.is_version_1 && self.accounts.folders.contains(&accounts)).then_some(accounts)
    }
}

impl Chain {
    fn find(root: &Path, groups: &str, mounts: &str, controller: &str) -> Option<Self> {
        let (group, is_version_1) = parse::group_of(groups, controller)?;
        let mount = parse::mount_of(mounts, controller, is_version_1)?;
        let top = root.join(mount.point.trim_start_matches('/'));
        // In a container the mount may show less than the whole hierarchy, or the path may be of another name space.
        let below = Path::new(group).strip_prefix(mount.root).unwrap_or(Path::new(""));
        let is_plain = below.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        let own = top.join(if is_plain { below } else { Path::new("") });
        let own = if own.is_dir() { own } else { top.clone() };
        let folders = own.ancestors().take_while(|folder| folder.starts_with(&top));
        let folders = folders.map(PathBuf::from).collect();
        Some(Self { top, folders, is_version_1 })
    }
}

fn memory_of(folder: &Path, is_version_1: bool) -> Option<Memory> {
    let number = |name: &str| parse::limit(&read(&folder.join(name))?);
    let (limits, current, reclaimable) = if is_version_1 {
        (&["memory.limit_in_bytes"][..], "memory.usage_in_bytes", "total_inactive_file")
    } else {
        (&["memory.max", "memory.high"][..], "memory.current", "inactive_file")
    };
    let limit = limits.iter().filter_map(|name| number(name)).min()?;
    let used = number(current).map(|current| {
        let stat = read(&folder.join("memory.stat")).unwrap_or_default();
        current.saturating_sub(parse::number_of(&stat, reclaimable).unwrap_or(0))
    });
    Some(Memory { used, limit })
}

/// The text of a file, as far as there is one.
pub(super) fn read(path: &Path) -> Option<String> {
    fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}
