//! Runs that are killed, or run out of disk, and go on as if nothing had been.

use std::fmt::Write as _;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::{Desk, question};

const N_ROWS: usize = 100_000;

/// Many rows, a few of them bad.
fn jsonl() -> String {
    let mut text = String::new();
    for number in 0..N_ROWS {
        match number % 1000 {
            17 => text.push_str("{\"query\":\n"),
            18 => text.push_str("\r\n"),
            _ => writeln!(text, "{{\"id\":{number},\"query\":\"{}\"}}", question(number)).unwrap(),
        }
    }
    text
}

/// The same as CSV, with fields of several lines.
fn csv() -> String {
    let mut text = "id,query,note\n".to_owned();
    for number in 0..N_ROWS {
        match number % 1000 {
            17 => text.push_str("too,few\r\n"),
            18 => text.push_str("\r\n"),
            _ if number % 5 == 0 => {
                write!(text, "{number},\"{}\n\",\"a \"\"b\"\"\"\r\n", question(number)).unwrap();
            }
            _ => writeln!(text, "{number},{},", question(number)).unwrap(),
        }
    }
    text
}

/// Numbers that nobody expects, from the clock (SplitMix64).
struct Chance(u64);

impl Chance {
    fn new() -> Self {
        let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
        Self(seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Waits for `child` no longer than `time`; whether it has come to an end.
fn ends_within(child: &mut Child, time: Duration) -> bool {
    let until = Instant::now() + time;
    let (_open, never) = mpsc::channel::<()>();
    while Instant::now() < until {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return true;
        }
        assert!(never.recv_timeout(Duration::from_millis(2)).is_err());
    }
    false
}

fn offset(desk: &Desk) -> u64 {
    let path = desk.path(&format!("{}.progress", desk.output));
    let journal = fs::read(path).map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap());
    journal["progress"]["input"]["offset"].as_u64().unwrap_or(0)
}

/// Kills runs until one comes to its end.
fn kill_and_resume(desk: &Desk) {
    let mut chance = Chance::new();
    loop {
        let before = offset(desk);
        let mut command = desk.command(&["--resume", "--concurrency", "2"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Early kills hit the start of a run; one in two may happen only after the journal has moved on.
        if chance.below(2) == 0 {
            while offset(desk) == before && !ends_within(&mut child, Duration::from_millis(5)) {}
        }
        if ends_within(&mut child, Duration::from_millis(chance.below(400))) {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[track_caller]
fn check_same(interrupted: &Desk, whole: &Desk) {
    for name in [whole.output.to_owned(), format!("{}.errors.jsonl", whole.output)] {
        let same = fs::read(interrupted.path(&name)).unwrap() == fs::read(whole.path(&name)).unwrap();
        assert!(same, "{name} differs");
    }
}

#[test]
fn killed_runs_end_as_if_they_had_not_been_killed() {
    for (input, text) in [("in.jsonl", jsonl()), ("in.csv", csv())] {
        let whole = Desk::new(input, &text);
        let summary = whole.finish(&[]);
        assert_eq!(summary["n_refused"], N_ROWS / 1000);
        let interrupted = Desk::new(input, &text);
        kill_and_resume(&interrupted);
        check_same(&interrupted, &whole);

        let again = interrupted.finish(&["--resume"]);
        assert_eq!(again["finished_before"], true);
        assert_eq!(again["n_answered"], summary["n_answered"]);
        check_same(&interrupted, &whole);
        let said = String::from_utf8(interrupted.run(&["--resume"]).stderr).unwrap();
        assert!(said.contains("is finished already"), "{said}");
    }
}

#[cfg(unix)]
#[test]
fn a_run_that_fills_the_disk_goes_on_when_there_is_room() {
    let text = jsonl();
    let whole = Desk::new("in.jsonl", &text);
    whole.finish(&[]);
    let interrupted = Desk::new("in.jsonl", &text);
    // A limit on the length of files fails like a full disk, once the signal that comes with it is ignored.
    let run = interrupted.command(&["--resume"]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 40000; exec \"$@\"", "sh"]);
    limited.arg(run.get_program()).args(run.get_args()).current_dir(interrupted.folder.path());
    let output = limited.output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{message}");
    assert!(message.contains("cannot write out.jsonl; mend that and go on with --resume: "), "{message}");

    interrupted.finish(&["--resume"]);
    check_same(&interrupted, &whole);
}
