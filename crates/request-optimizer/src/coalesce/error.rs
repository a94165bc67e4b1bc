//! Why a request has no value.

/// Why a request has no value. Those who wait are told of the failure of somebody else's computation too, under
/// [`OnFailure::Share`](super::OnFailure::Share).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CoalesceError<E> {
    /// The computation failed.
    #[error(transparent)]
    Failed(E),
    /// The computation panicked in the hands of another request.
    #[error("the computation this request waited for panicked; ask again")]
    Panicked,
    /// This request's own deadline passed first.
    #[error("the deadline passed before there was a value; ask again with more time")]
    OutOfTime,
}
