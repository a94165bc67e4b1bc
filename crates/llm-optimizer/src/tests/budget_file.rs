//! The file: what is damaged is noticed, what is torn is not taken, what is deleted is begun anew.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::LlmErrorKind;

fn file(folder: &TempDir) -> BudgetFile {
    BudgetFile::new(folder.path().join("deep/budget"), Duration::from_millis(50))
}

fn spend(file: &mut BudgetFile, amount: u64) -> Result<u64, LlmError> {
    file.change(|book| {
        book.day.settled += amount;
        book.day.settled
    })
}

fn damage(file: &BudgetFile, offset: u64) {
    let opened = OpenOptions::new().write(true).open(&file.path).unwrap();
    opened.write_all_at(&[0xff; 4], offset + 20).unwrap();
}

#[test]
fn it_is_the_same_for_all_who_open_it_and_afterwards() {
    let folder = TempDir::new().unwrap();
    let (mut one, mut two) = (file(&folder), file(&folder));
    one.prepare().unwrap();
    two.prepare().unwrap();
    assert_eq!(
        [spend(&mut one, 1).unwrap(), spend(&mut two, 2).unwrap(), spend(&mut one, 4).unwrap()],
        [1, 3, 7]
    );
    drop((one, two));
    assert_eq!(spend(&mut file(&folder), 0).unwrap(), 7);
}

#[test]
fn of_two_copies_one_may_be_damaged_and_not_both() {
    for n_writes in 1..4 {
        for (offset, other) in [(OFFSETS[0], OFFSETS[1]), (OFFSETS[1], OFFSETS[0])] {
            let folder = TempDir::new().unwrap();
            let mut file = file(&folder);
            file.prepare().unwrap();
            for _ in 0..n_writes {
                spend(&mut file, 10).unwrap();
            }
            damage(&file, offset);
            let newest = OFFSETS[n_writes % 2] == offset;
            match spend(&mut file, 0) {
                Ok(spent) => assert_eq!(spent as usize, (n_writes - usize::from(newest)) * 10),
                // The only copy there was.
                Err(error) => assert!(n_writes == 1 && newest, "{error}"),
            }
            damage(&file, other);
            damage(&file, offset);
            let error = spend(&mut file, 1).unwrap_err();
            assert_eq!(error.kind(), LlmErrorKind::BudgetUnknown);
            assert!(error.to_string().contains("delete it"), "{error}");
            fs::remove_file(&file.path).unwrap();
            assert_eq!(spend(&mut file, 1).unwrap(), 1);
        }
    }
}

#[test]
fn a_torn_write_leaves_what_was_before() {
    let folder = TempDir::new().unwrap();
    let mut file = file(&folder);
    file.prepare().unwrap();
    spend(&mut file, 10).unwrap();
    spend(&mut file, 10).unwrap();
    let (number, book) = file.change(|book| (2, *book)).unwrap();
    let mut next = book;
    next.day.settled = 1_000;
    let bytes = encode(number + 1, &next);
    for n_written in 1..LENGTH {
        let opened = OpenOptions::new().write(true).open(&file.path).unwrap();
        opened.write_all_at(&bytes[..n_written], OFFSETS[1]).unwrap();
        let spent = file.change(|book| book.day.settled).unwrap();
        assert!(spent == 20, "{spent} after {n_written} bytes");
    }
}

#[test]
fn a_lock_that_is_held_is_not_waited_for_for_ever() {
    let folder = TempDir::new().unwrap();
    let (mut one, mut two) = (file(&folder), file(&folder));
    one.prepare().unwrap();
    let held = one.locked().unwrap();
    let error = spend(&mut two, 1).unwrap_err();
    assert_eq!(error.kind(), LlmErrorKind::BudgetUnknown);
    drop(held);
    assert_eq!(spend(&mut two, 1).unwrap(), 1);
    // Somebody who opened the file before it was replaced finds the new one.
    fs::remove_file(&one.path).unwrap();
    assert_eq!([spend(&mut two, 5).unwrap(), spend(&mut one, 1).unwrap()], [5, 6]);
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_pass_for_a_book(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..6_000)) {
        let folder = TempDir::new().unwrap();
        let mut file = file(&folder);
        file.prepare().unwrap();
        fs::write(&file.path, &bytes).unwrap();
        proptest::prop_assert!(spend(&mut file, 1).is_err());
    }
}
