//! Places that are locked, read-only, full or no folder at all, and what happens once they are not any more.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use cache_tiers::Forget;

use super::*;

const LOCK_FOLDER: &str = "CACHE_TIERS_TEST_LOCK";

/// A child that has the tier open until its standard input ends.
#[tokio::test]
async fn child_that_locks() {
    let Some(path) = std::env::var_os(LOCK_FOLDER) else { return };
    let tier = open(Path::new(&path));
    put(&tier, 1, 1).await.unwrap();
    println!("\nlocked");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// This test program once more, to run one test of it.
pub(super) fn child(test: &str, variable: &str, value: &std::ffi::OsStr) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(variable, value)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn locked_by_another_process_and_freed() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = child("disk::places::child_that_locks", LOCK_FOLDER, folder.path().as_os_str());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "locked"), "the child did not open the tier");

    let tier = open(folder.path());
    until_state(&tier, TierState::Locked).await;
    assert!(matches!(tier.probe(&key(1)), Probe::Miss));
    check_kind(tier.fetch(&key(1)).await, CacheErrorKind::Unavailable);
    check_kind(put(&tier, 1, 2).await, CacheErrorKind::Unavailable);
    assert_eq!(tier.stats().bypassed, 3);

    child.kill().unwrap();
    child.wait().unwrap();
    until_state(&tier, TierState::Ready).await;
    assert_eq!(look_up(&tier, 1).await.unwrap(), Some(1));
    put(&tier, 2, 1).await.unwrap();
    assert_eq!(tier.stats().quarantines, 0);
}

#[tokio::test]
async fn two_tiers_of_one_process_share_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    put(&first, 1, 1).await.unwrap();
    let second = open(folder.path());
    until_state(&second, TierState::Locked).await;
    check_kind(second.forget(Forget::Key(key(1))).await, CacheErrorKind::Unavailable);
    drop(first);
    until_state(&second, TierState::Ready).await;
    assert_eq!(look_up(&second, 1).await.unwrap(), None, "what could not be forgotten was found");
}

#[tokio::test]
async fn a_file_in_the_way_and_taken_out_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"no folder").unwrap();
    let tier = open(&file.join("cache"));
    until_state(&tier, TierState::Unavailable).await;
    check_kind(put(&tier, 1, 1).await, CacheErrorKind::Unavailable);
    std::fs::remove_file(&file).unwrap();
    until_state(&tier, TierState::Ready).await;
    put(&tier, 1, 1).await.unwrap();
}

#[tokio::test]
async fn read_only_and_writable_again() {
    let Some(mount) = Mount::of_mib(64) else { return };
    drop({
        let tier = open(&mount.path);
        put_many(&tier, 0..6000, 1).await;
        tier
    });
    mount.remount("ro");
    let tier = open(&mount.path);
    until_state(&tier, TierState::ReadOnly).await;
    assert_eq!(look_up(&tier, 17).await.unwrap(), Some(1));
    check_kind(put(&tier, 17, 2).await, CacheErrorKind::Unavailable);
    check_kind(tier.forget(Forget::Key(key(18))).await, CacheErrorKind::Unavailable);
    for number in [17, 18] {
        assert_eq!(look_up(&tier, number).await.unwrap(), None, "what is out of date was found");
    }
    mount.remount("rw");
    until_state(&tier, TierState::Ready).await;
    assert_eq!(look_up(&tier, 18).await.unwrap(), None);
    until_written(&tier, 17, 3).await;
    assert_eq!(look_up(&tier, 17).await.unwrap(), Some(3));
    assert_eq!(look_up(&tier, 19).await.unwrap(), Some(1));
    drop(tier);
    let tier = open(&mount.path);
    assert_eq!(look_up(&tier, 18).await.unwrap(), None, "what was owed was never written");
    assert_eq!(tier.stats().quarantines, 0);
}

#[tokio::test]
async fn an_empty_read_only_folder_and_writable_again() {
    let Some(mount) = Mount::of_mib(64) else { return };
    mount.remount("ro");
    let tier = open(&mount.path.join("cache"));
    until_state(&tier, TierState::ReadOnly).await;
    check_kind(tier.fetch(&key(1)).await, CacheErrorKind::Unavailable);
    mount.remount("rw");
    until_state(&tier, TierState::Ready).await;
    until_written(&tier, 1, 1).await;
}

/// Full in the middle of writes, at an opening, and room again.
#[tokio::test]
async fn full_and_room_again() {
    let Some(mount) = Mount::of_mib(24) else { return };
    let ballast = mount.path.join("ballast");
    std::fs::write(&ballast, vec![1; 8 << 20]).unwrap();
    let wide = || DiskConfig { max_bytes: 200 << 20, ..config(&mount.path.join("cache")) };
    let mut tier = open_with(wide(), 1, Arc::new(SystemClock));
    put_many(&tier, 0..100, 1).await;

    let mut n_written = 100;
    while put(&tier, n_written, 1).await.is_ok() {
        n_written += 1;
        assert!(n_written < 200_000, "a disk of 24 MiB took more than it has");
    }
    until_state(&tier, TierState::ReadOnly).await;
    for turn in 0..2 {
        assert_eq!(look_up(&tier, 17).await.unwrap(), Some(1));
        check_kind(put(&tier, 20 + turn, 2).await, CacheErrorKind::Unavailable);
        assert_eq!(look_up(&tier, 20 + turn).await.unwrap(), None, "what is out of date was found");
        check_kind(tier.forget(Forget::Key(key(30))).await, CacheErrorKind::Unavailable);
        assert_eq!(look_up(&tier, 30).await.unwrap(), None);
        if turn == 0 {
            // Opened anew it finds the disk as full as before. What was owed is lost with the process.
            drop(tier);
            tier = open_with(wide(), 1, Arc::new(SystemClock));
            until("it is open", || tier.stats().state != TierState::Starting).await;
            fill(&mount.path);
            while put(&tier, n_written, 1).await.is_ok() {
                n_written += 1;
            }
            until_state(&tier, TierState::ReadOnly).await;
        }
    }
    assert!(tier.stats().bypassed > 0);

    std::fs::remove_file(&ballast).unwrap();
    let _ = std::fs::remove_file(mount.path.join("filling"));
    until_written(&tier, 17, 3).await;
    assert_eq!(look_up(&tier, 17).await.unwrap(), Some(3));
    assert_eq!(look_up(&tier, 21).await.unwrap(), None);
    assert_eq!(look_up(&tier, 30).await.unwrap(), None);
    assert_eq!(look_up(&tier, 50).await.unwrap(), Some(1));
    let stats = tier.stats();
    assert_eq!((stats.state, stats.quarantines), (TierState::Ready, 0));
}

/// Takes what is left of a disk.
fn fill(path: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(path.join("filling")).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
}

/// A file system of its own.
pub(super) struct Mount {
    pub(super) path: PathBuf,
    folder: tempfile::TempDir,
}

impl Mount {
    /// One in memory.
    fn of_mib(n_mib: u32) -> Option<Self> {
        let mount = Self::place()?;
        let options = format!("size={n_mib}m");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&mount.path));
        Some(mount)
    }

    /// One on a block device, which is a file in turn.
    pub(super) fn of_device(n_mib: u64) -> Option<Self> {
        let mount = Self::place()?;
        let image = mount.folder.path().join("image");
        std::fs::File::create(&image).unwrap().set_len(n_mib << 20).unwrap();
        run(Command::new("mkfs.ext4").arg("-q").arg(&image));
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&mount.path));
        Some(mount)
    }

    /// Only the superuser may mount. Everybody else is told what is not tested; the superuser's tests do it or fail.
    fn place() -> Option<Self> {
        if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
            println!("not tested: mounting a small file system takes root, so run this as root");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mount");
        std::fs::create_dir(&path).unwrap();
        Some(Self { path, folder })
    }

    fn remount(&self, mode: &str) {
        run(Command::new("mount").args(["-o", &format!("remount,{mode}")]).arg(&self.path));
    }

    /// Makes all writes to it wait until the result is dropped.
    pub(super) fn freeze(&self) -> Frozen<'_> {
        run(Command::new("fsfreeze").arg("--freeze").arg(&self.path));
        Frozen(self)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
    }
}

pub(super) struct Frozen<'a>(&'a Mount);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze").arg("--unfreeze").arg(&self.0.path).status();
    }
}

#[track_caller]
pub(super) fn run(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}
