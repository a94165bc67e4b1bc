//! Steering over HTTP: what is under `/sim`.

use std::sync::Arc;

use http::{Method, Response, StatusCode};
use serde::Serialize;
use serde_json::json;

use super::body::ReplyBody;
use super::route::plain;
use crate::state::State;
use crate::{FAULTS, Fault, Faults, SimError};

/// What there is, for those who ask for something else.
const ADDRESSES: &str = "GET or PUT /sim/faults, GET or PUT /sim/config, POST /sim/next, GET or DELETE /sim/log, GET /sim/stats, GET /sim/table";

/// Answers a request of somebody who steers.
pub(crate) async fn control(
    state: &Arc<State>,
    method: &Method,
    path: &str,
    body: &[u8],
) -> Response<ReplyBody> {
    match (method, path) {
        (&Method::GET, "/sim/faults") => shown(&state.settings().faults),
        (&Method::PUT, "/sim/faults") => match serde_json::from_slice::<Faults>(body) {
            Ok(faults) => {
                state.change(|settings| settings.faults = faults);
                state.settle().await;
                shown(&state.settings().faults)
            }
            Err(error) => refusal(StatusCode::BAD_REQUEST, &error),
        },
        (&Method::GET, "/sim/config") => shown(&state.settings_json()),
        (&Method::PUT, "/sim/config") => match state.change_json(body) {
            Ok(()) => shown(&state.settings_json()),
            Err(error) => refusal(StatusCode::BAD_REQUEST, &error),
        },
        (&Method::POST, "/sim/next") => match scripted(body) {
            Ok(faults) => {
                let n_scripted = faults.len();
                state.script(faults);
                shown(&json!({"scripted": n_scripted}))
            }
            Err(error) => refusal(StatusCode::BAD_REQUEST, &error),
        },
        (&Method::GET, "/sim/log") => shown(&state.journal.entries()),
        (&Method::DELETE, "/sim/log") => {
            state.journal.clear();
            shown(&json!({}))
        }
        (&Method::GET, "/sim/stats") => shown(&state.journal.stats()),
        (&Method::GET, "/sim/table") => {
            let row = |(_, name, what): &(Fault, &str, &str)| json!({"fault": name, "what": what});
            shown(&FAULTS.iter().map(row).collect::<Vec<_>>())
        }
        _ => refusal(StatusCode::NOT_FOUND, &format!("there is nothing here, try {ADDRESSES}")),
    }
}

fn scripted(body: &[u8]) -> Result<Vec<Option<Fault>>, SimError> {
    let names: Vec<Option<String>> = serde_json::from_slice(body).map_err(|error| {
        SimError::invalid(format!("write an array of names of faults, null for none: {error}"))
    })?;
    names.into_iter().map(|name| name.map(|name| name.parse()).transpose()).collect()
}

fn shown<T: Serialize>(value: &T) -> Response<ReplyBody> {
    match serde_json::to_vec(value) {
        Ok(body) => plain(StatusCode::OK, body),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &error),
    }
}

/// An error of one who steers.
pub(crate) fn refusal(status: StatusCode, error: &dyn std::fmt::Display) -> Response<ReplyBody> {
    plain(status, json!({"error": error.to_string()}).to_string().into_bytes())
}
