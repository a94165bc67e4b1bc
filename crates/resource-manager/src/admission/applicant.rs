//! Who asks for admission.

use hp_base::{Deadline, Priority};

/// Who asks for admission: how urgent it is, and until when there must be an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applicant {
    /// Who waits is admitted by urgency first. Default: normal.
    pub priority: Priority,
    /// When the work must be done; among the equally urgent the earliest is admitted first. Default: never.
    pub deadline: Deadline,
}
