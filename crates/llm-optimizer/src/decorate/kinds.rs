//! What the kind of an error means for those around the call.

use crate::LlmErrorKind;

/// Whether the same call may go well if it is made again soon, and cannot do harm.
pub(super) const fn may_pass(kind: LlmErrorKind) -> bool {
    match kind {
        LlmErrorKind::Unavailable | LlmErrorKind::Disconnected | LlmErrorKind::RateLimited => true,
        LlmErrorKind::InvalidConfig
        | LlmErrorKind::InvalidRequest
        | LlmErrorKind::Unauthorized
        | LlmErrorKind::NotFound
        | LlmErrorKind::OutOfTime
        | LlmErrorKind::InvalidReply
        | LlmErrorKind::CircuitOpen
        | LlmErrorKind::Busy
        | LlmErrorKind::OverBudget
        | LlmErrorKind::BudgetUnknown => false,
    }
}

/// Whether another model may answer what this one has not.
pub(super) const fn another_may_answer(kind: LlmErrorKind) -> bool {
    !matches!(kind, LlmErrorKind::InvalidRequest)
}

/// Whether a request has gone out, as far as the kind tells.
pub(super) const fn was_sent(kind: LlmErrorKind) -> bool {
    match kind {
        LlmErrorKind::InvalidRequest
        | LlmErrorKind::Unauthorized
        | LlmErrorKind::NotFound
        | LlmErrorKind::RateLimited
        | LlmErrorKind::Unavailable
        | LlmErrorKind::Disconnected
        | LlmErrorKind::OutOfTime
        | LlmErrorKind::InvalidReply => true,
        LlmErrorKind::InvalidConfig
        | LlmErrorKind::CircuitOpen
        | LlmErrorKind::Busy
        | LlmErrorKind::OverBudget
        | LlmErrorKind::BudgetUnknown => false,
    }
}
