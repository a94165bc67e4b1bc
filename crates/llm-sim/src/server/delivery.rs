//! From what the model says to the steps of the body, and what goes wrong on the way.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::body::{BEFORE_RESET, ReplyBody, Step};
use super::link::Link;
use crate::answer::BAD_BYTE;
use crate::journal::Record;
use crate::state::Settings;
use crate::wire::{Call, Event, Reply};
use crate::{Fault, Provider};

/// The body of a response.
pub(crate) fn body(
    settings: &Settings,
    provider: Provider,
    call: &Call,
    reply: &Reply,
    fault: Option<Fault>,
    record: Record,
    link: &Arc<Link>,
) -> ReplyBody {
    let pace = match fault {
        Some(Fault::SlowDrip) => settings.slow_drip,
        Some(Fault::EnormousReply) => Duration::ZERO,
        _ => settings.per_token,
    };
    if call.is_streamed {
        let events = spoil(fault, provider.events(call, reply));
        let mut steps = paced(events, pace);
        end(fault, &mut steps);
        return ReplyBody::steps(steps, None, record, Arc::clone(link));
    }
    let bytes = spoil_bytes(fault, provider.whole(call, reply));
    let length = match fault {
        Some(Fault::TruncatedStream) => bytes.len() / 2,
        _ => bytes.len(),
    };
    let mut steps = dripped(fault, bytes, pace);
    end(fault, &mut steps);
    // OK to cast: a length.
    ReplyBody::steps(steps, Some(length as u64), record, Arc::clone(link))
}

/// Events, each when its tokens are there. The end comes as long after the last token as the last after the one before,
/// so that a stream takes as long as a reply sent whole.
fn paced(events: Vec<Event>, pace: Duration) -> Vec<Step> {
    let mut n_before = 0_u32;
    let mut is_over = false;
    let n_all: u32 = events.iter().map(|event| event.n_tokens).sum();
    let step = |Event { bytes, n_tokens }| {
        is_over = is_over || (n_tokens == 0 && n_before == n_all);
        n_before += n_tokens;
        let at = if is_over { pace * n_all } else { pace * n_before.saturating_sub(1) };
        Step::Send { bytes, n_tokens, at }
    };
    events.into_iter().map(step).collect()
}

/// A reply sent whole, in one piece but for one that drips.
fn dripped(fault: Option<Fault>, bytes: Vec<u8>, pace: Duration) -> Vec<Step> {
    let bytes = Bytes::from(bytes);
    let piece = match fault {
        // About a token.
        Some(Fault::SlowDrip) => 4,
        Some(Fault::TruncatedStream | Fault::ResetInBody | Fault::HangMidStream) => bytes.len().div_ceil(2),
        _ => bytes.len(),
    };
    let mut steps = Vec::new();
    let (mut rest, mut at) = (bytes, Duration::ZERO);
    while !rest.is_empty() {
        let bytes = rest.split_to(piece.min(rest.len()));
        steps.push(Step::Send { bytes, n_tokens: 0, at });
        if fault == Some(Fault::SlowDrip) {
            at += pace;
        }
    }
    steps
}

/// Cuts a body that does not come to its end.
fn end(fault: Option<Fault>, steps: &mut Vec<Step>) {
    let half = steps.len().div_ceil(2);
    match fault {
        Some(Fault::TruncatedStream) => steps.truncate(half),
        Some(Fault::HangMidStream) => {
            steps.truncate(half);
            steps.push(Step::Hang);
        }
        Some(Fault::ResetInBody) => {
            steps.truncate(half);
            let last = steps.iter().rev().find_map(|step| match step {
                Step::Send { at, .. } => Some(*at),
                _ => None,
            });
            steps.push(Step::Reset { at: last.unwrap_or_default() + BEFORE_RESET });
        }
        _ => {}
    }
}

/// Events that are not what they should be.
fn spoil(fault: Option<Fault>, mut events: Vec<Event>) -> Vec<Event> {
    let Some(fault) = fault else { return events };
    let with_text = |events: &[Event]| -> Vec<usize> {
        events.iter().enumerate().filter(|(_, event)| event.n_tokens > 0).map(|(index, _)| index).collect()
    };
    match fault {
        Fault::DuplicatedEvents => {
            let twice = |event: Event| {
                let n_times = if event.n_tokens > 0 { 2 } else { 1 };
                let free = Event { bytes: event.bytes.clone(), n_tokens: 0 };
                std::iter::once(event).chain((1..n_times).map(move |_| free.clone()))
            };
            events.into_iter().flat_map(twice).collect()
        }
        Fault::ReorderedEvents => {
            for pair in with_text(&events).chunks_exact(2) {
                events.swap(pair[0], pair[1]);
            }
            events
        }
        Fault::MalformedBody => {
            let texts = with_text(&events);
            if let Some(event) = texts.get(texts.len() / 2).and_then(|index| events.get_mut(*index)) {
                let mut bytes = event.bytes.slice(..event.bytes.len() / 2).to_vec();
                bytes.extend_from_slice(b"\n\n");
                event.bytes = bytes.into();
            }
            events
        }
        Fault::InvalidUtf8 => {
            for event in &mut events {
                event.bytes = with_bad_bytes(&event.bytes).into();
            }
            events
        }
        _ => events,
    }
}

fn spoil_bytes(fault: Option<Fault>, mut bytes: Vec<u8>) -> Vec<u8> {
    match fault {
        Some(Fault::MalformedBody) => {
            bytes.truncate(bytes.len() - 1);
            bytes.extend_from_slice(b",,");
            bytes
        }
        Some(Fault::InvalidUtf8) => with_bad_bytes(&bytes),
        _ => bytes,
    }
}

/// The bytes with one that is no UTF-8 wherever a text has its mark.
fn with_bad_bytes(bytes: &[u8]) -> Vec<u8> {
    let mut buffer = [0; 4];
    let mark = BAD_BYTE.encode_utf8(&mut buffer).as_bytes();
    let mut spoilt = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(mark.len()).position(|window| window == mark) {
        spoilt.extend_from_slice(&rest[..at]);
        spoilt.push(0xff);
        rest = &rest[at + mark.len()..];
    }
    spoilt.extend_from_slice(rest);
    spoilt
}
