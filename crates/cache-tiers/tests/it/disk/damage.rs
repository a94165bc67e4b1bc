//! Files that lost bytes, changed bytes or are gone: the tier works again, no value is wrong, and it says what happened.

use std::fs;
use std::path::PathBuf;

use cache_tiers::Notes;

use super::*;

const N_ENTRIES: u64 = 6000;

#[derive(Debug, Clone, Copy)]
enum Damage {
    /// One byte in the middle is another.
    Flip,
    /// All bytes are others.
    Garble,
    /// The second half is missing.
    CutShort,
    Empty,
    Delete,
}

impl Damage {
    const ALL: [Self; 5] = [Self::Flip, Self::Garble, Self::CutShort, Self::Empty, Self::Delete];

    fn inflict(self, file: &Path) {
        let mut bytes = fs::read(file).unwrap();
        let middle = bytes.len() / 2;
        match self {
            Self::Flip => bytes[middle] ^= 0x10,
            Self::Garble => bytes.iter_mut().for_each(|byte| *byte ^= 0xa5),
            Self::CutShort => bytes.truncate(middle),
            Self::Empty => bytes.clear(),
            Self::Delete => return fs::remove_file(file).unwrap(),
        }
        fs::write(file, bytes).unwrap();
    }
}

/// A database with tables and a log, closed.
async fn filled() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let tier = open(folder.path());
    put_many(&tier, 0..N_ENTRIES, 1).await;
    put_many(&tier, 0..100, 2).await;
    tier.write_note("position", b"abc".to_vec()).await.unwrap();
    tier.close().await;
    folder
}

/// The largest file of the database whose name the predicate likes.
fn file(folder: &Path, is_one: impl Fn(&str) -> bool) -> PathBuf {
    let files = fs::read_dir(folder.join("store")).unwrap().map(Result::unwrap);
    let is_one = |file: &fs::DirEntry| is_one(&file.file_name().to_string_lossy());
    files.filter(is_one).max_by_key(|file| file.metadata().unwrap().len()).expect("no such file").path()
}

/// Opens the damaged database, reads all of it, and writes and reads anew. Returns how much was still there.
async fn survives(folder: &Path, damage: &str) -> (u64, u64) {
    let tier = open(folder);
    until_state(&tier, TierState::Ready).await;
    let mut n_found = 0;
    for number in 0..N_ENTRIES {
        // An error is a miss; a value is checked by `look_up`.
        match look_up(&tier, number).await.unwrap_or(None) {
            Some(generation @ 1..=2) => n_found += u64::from(generation > 0),
            Some(generation) => panic!("{damage}: generation {generation} was never written"),
            None => {}
        }
    }
    until_state(&tier, TierState::Ready).await;
    for number in 0..50 {
        until_written(&tier, number, 3).await;
        assert_eq!(look_up(&tier, number).await.unwrap(), Some(3), "{damage}");
    }
    let n_quarantines = tier.stats().quarantines;
    drop(tier);
    let tier = open(folder);
    assert_eq!(look_up(&tier, 7).await.unwrap(), Some(3), "{damage}: nothing is left after another start");
    assert_eq!(tier.stats().quarantines, 0, "{damage}: the new database is damaged too");
    assert_eq!(folder.join("quarantined").exists(), n_quarantines > 0, "{damage}");
    (n_found, n_quarantines)
}

/// Whatever happens to a file the database cannot do without, it is put aside.
async fn is_put_aside(name: &str, is_one: impl Fn(&str) -> bool) {
    for damage in Damage::ALL {
        let folder = filled().await;
        damage.inflict(&file(folder.path(), &is_one));
        let (n_found, n_quarantines) = survives(folder.path(), &format!("{damage:?} of {name}")).await;
        println!("{damage:?} of {name}: {n_found} of {N_ENTRIES} entries found, {n_quarantines} quarantines");
        // A manifest that ends early is that of an earlier moment, as after a loss of power.
        let may_be_used = name == "MANIFEST" && matches!(damage, Damage::CutShort);
        assert!(n_quarantines == 1 || may_be_used, "{damage:?} of {name} was not seen");
    }
}

/// Whatever happens to a file the database can do without, the entries that do not lie in it are still there.
async fn is_done_without(name: &str, at_least: u64, is_one: impl Fn(&str) -> bool) {
    for damage in Damage::ALL {
        let folder = filled().await;
        damage.inflict(&file(folder.path(), &is_one));
        let (n_found, n_quarantines) = survives(folder.path(), &format!("{damage:?} of {name}")).await;
        println!("{damage:?} of {name}: {n_found} of {N_ENTRIES} entries found, {n_quarantines} quarantines");
        assert_eq!(n_quarantines, 0, "{damage:?} of {name}");
        assert!(n_found >= at_least, "{damage:?} of {name}: only {n_found} entries are left");
    }
}

#[tokio::test]
async fn a_damaged_manifest_is_put_aside() {
    is_put_aside("MANIFEST", |name| name.starts_with("MANIFEST-")).await;
}

#[tokio::test]
async fn a_damaged_current_is_put_aside() {
    is_put_aside("CURRENT", |name| name == "CURRENT").await;
}

#[tokio::test]
async fn a_damaged_table_is_put_aside() {
    is_put_aside("table", |name| name.ends_with(".sst")).await;
}

#[tokio::test]
async fn of_a_damaged_log_what_stands_before_the_damage_is_kept() {
    is_done_without("log", N_ENTRIES / 4, |name| name.ends_with(".log")).await;
}

#[tokio::test]
async fn damaged_options_do_not_matter() {
    is_done_without("OPTIONS", N_ENTRIES, |name| name.starts_with("OPTIONS-")).await;
}

#[tokio::test]
async fn everything_gone_but_one_file() {
    for kept in ["MANIFEST-", "CURRENT", ".sst", ".log"] {
        let folder = filled().await;
        for entry in fs::read_dir(folder.path().join("store")).unwrap() {
            let path = entry.unwrap().path();
            if !path.file_name().unwrap().to_string_lossy().contains(kept) {
                fs::remove_file(path).unwrap();
            }
        }
        let (n_found, n_quarantines) = survives(folder.path(), kept).await;
        assert_eq!((n_found, n_quarantines), (0, 1), "{kept}");
    }
}

#[tokio::test]
async fn a_table_damaged_while_the_tier_is_at_work_is_put_aside() {
    let folder = filled().await;
    // Nothing stays in the block cache, so that reads meet the damage.
    let tier =
        open_with(DiskConfig { block_cache_bytes: 0, ..config(folder.path()) }, 1, Arc::new(SystemClock));
    until_state(&tier, TierState::Ready).await;
    assert_eq!(look_up(&tier, 1000).await.unwrap(), Some(1));
    Damage::Garble.inflict(&file(folder.path(), |name| name.ends_with(".sst")));
    let mut n_corrupt = 0;
    for number in 0..N_ENTRIES {
        n_corrupt +=
            u64::from(look_up(&tier, number).await.is_err_and(|e| e.kind() == CacheErrorKind::Corrupt));
    }
    assert!(n_corrupt > 0, "no read met the damage");
    until("the database was put aside", || tier.stats().quarantines == 1).await;
    until_state(&tier, TierState::Ready).await;
    until_written(&tier, 1, 3).await;
    assert_eq!(look_up(&tier, 1).await.unwrap(), Some(3));
}

#[tokio::test]
async fn two_quarantines_leave_one_and_both_stay_within_the_bound() {
    let folder = filled().await;
    for turn in 0..2 {
        Damage::Garble.inflict(&file(folder.path(), |name| name == "CURRENT"));
        let tier = open(folder.path());
        until("the database was put aside", || tier.stats().quarantines == 1).await;
        until_state(&tier, TierState::Ready).await;
        put_many(&tier, 0..N_ENTRIES, turn).await;
        tier.close().await;
    }
    let n_bytes: u64 = fs::read_dir(folder.path().join("quarantined"))
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!(n_bytes > 0 && n_bytes <= config(folder.path()).max_bytes / 20, "{n_bytes} bytes are kept");
}
