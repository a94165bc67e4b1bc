//! How often faults happen, and where they are written down.

use crate::{FAULTS, Fault, Faults};

#[test]
fn the_documentation_has_the_table() {
    let documentation = include_str!("../lib.rs");
    for (_, name, what) in FAULTS {
        let row = format!("//! | `{name}` | {what} |");
        assert!(documentation.contains(&row), "the documentation of the crate lacks this row:\n{row}");
    }
}

#[test]
fn every_fault_is_in_the_table_under_its_name_in_json() {
    for (fault, name, _) in FAULTS {
        assert_eq!(serde_json::to_string(fault).unwrap(), format!("\"{name}\""));
        assert_eq!(fault.to_string(), *name);
    }
}

#[test]
fn a_number_picks_at_most_one_fault() {
    let faults = Faults::none().with(Fault::ServerError, 0.25).unwrap();
    let faults = faults.with(Fault::SlowDrip, 0.5).unwrap().with(Fault::ConnectionRefused, 1.0).unwrap();
    assert_eq!(faults.pick(0.0), Some(Fault::ServerError));
    assert_eq!(faults.pick(0.249), Some(Fault::ServerError));
    assert_eq!(faults.pick(0.25), Some(Fault::SlowDrip));
    assert_eq!(faults.pick(0.749), Some(Fault::SlowDrip));
    assert_eq!(faults.pick(0.75), None);
    assert!(faults.clone().with(Fault::EmptyReply, 0.26).is_err());
    assert!(faults.with(Fault::EmptyReply, f64::NAN).is_err());
}

#[test]
fn a_wrong_name_is_told_the_nearest() {
    let error = "sever_error".parse::<Fault>().unwrap_err().to_string();
    assert!(error.contains("did you mean server_error?"), "{error}");
}
