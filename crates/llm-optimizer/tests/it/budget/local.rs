//! The budget in a file: one that hangs, one that is gone, and what is owed meanwhile.

use std::fs::{File, OpenOptions};
use std::sync::Arc;
use std::time::Duration;

use hp_base::SystemClock;
use llm_optimizer::{BudgetLimits, Ledger, LlmErrorKind, LocalLedger, LocalLedgerConfig, MicroDollars};
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use super::{PATIENCE, eventually};

fn open(folder: &TempDir, timeout: Duration) -> LocalLedger {
    let config = LocalLedgerConfig { timeout, ..LocalLedgerConfig::new(folder.path().join("budget")) };
    let limits = BudgetLimits { daily: Some(MicroDollars(1_000)), ..BudgetLimits::default() };
    LocalLedger::open(config, limits, Arc::new(SystemClock)).unwrap()
}

fn lock(folder: &TempDir) -> File {
    let file = OpenOptions::new().read(true).write(true).open(folder.path().join("budget")).unwrap();
    flock(&file, FlockOperation::LockExclusive).unwrap();
    file
}

#[tokio::test]
async fn while_another_one_holds_the_file_calls_are_refused_and_nothing_is_lost() {
    let folder = TempDir::new().unwrap();
    let ledger = open(&folder, Duration::from_millis(100));
    let (first, second) =
        (ledger.reserve(MicroDollars(100)).await.unwrap(), ledger.reserve(MicroDollars(100)).await.unwrap());
    let held = lock(&folder);
    let error = ledger.reserve(MicroDollars(1)).await.unwrap_err();
    assert_eq!(error.kind(), LlmErrorKind::BudgetUnknown);
    first.settle(MicroDollars(30));
    second.release();
    assert_eq!(ledger.flush().await.unwrap_err().kind(), LlmErrorKind::BudgetUnknown);
    drop(held);
    eventually("the file is free and all is settled", async || ledger.flush().await.is_ok()).await;
    eventually("nothing is put aside for those who did not wait", async || {
        let day = ledger.state().await.unwrap().day;
        (day.settled, day.reserved) == (MicroDollars(30), MicroDollars(0))
    })
    .await;
}

#[tokio::test]
async fn who_does_not_wait_for_the_answer_has_nothing_put_aside() {
    let folder = TempDir::new().unwrap();
    let ledger = open(&folder, PATIENCE);
    for _ in 0..200 {
        let mut call = ledger.reserve(MicroDollars(1_000));
        tokio::select! { biased;
            _ = &mut call => {}
            () = tokio::task::yield_now() => {}
        }
        drop(call);
        eventually("all is free again", async || {
            ledger.flush().await.unwrap();
            let day = ledger.state().await.unwrap().day;
            // One that did get an answer drops it without a word, and that is spent.
            day.reserved == MicroDollars(0)
        })
        .await;
        if ledger.state().await.unwrap().day.settled > MicroDollars(0) {
            return;
        }
    }
}

#[tokio::test]
async fn what_was_put_aside_by_one_who_has_gone_stays_spent_and_is_settled_by_the_living() {
    let folder = TempDir::new().unwrap();
    let ledger = open(&folder, PATIENCE);
    let reservation = ledger.reserve(MicroDollars(600)).await.unwrap();
    std::mem::forget(ledger.reserve(MicroDollars(300)).await.unwrap());
    drop(ledger);
    let next = open(&folder, PATIENCE);
    assert_eq!(next.state().await.unwrap().day.left(), Some(MicroDollars(100)));
    // It outlives its ledger, and is settled all the same.
    reservation.settle(MicroDollars(1));
    eventually("it is settled", async || {
        next.state().await.unwrap().day.left() == Some(MicroDollars(1_000 - 300 - 1))
    })
    .await;
}

#[tokio::test]
async fn with_sync_or_without_the_numbers_are_the_same() {
    let folder = TempDir::new().unwrap();
    let config = LocalLedgerConfig {
        timeout: PATIENCE,
        sync: true,
        ..LocalLedgerConfig::new(folder.path().join("budget"))
    };
    let ledger = LocalLedger::open(config, BudgetLimits::default(), Arc::new(SystemClock)).unwrap();
    ledger.reserve(MicroDollars(5)).await.unwrap().settle(MicroDollars(4));
    ledger.flush().await.unwrap();
    assert_eq!(ledger.state().await.unwrap().day.settled, MicroDollars(4));
}
