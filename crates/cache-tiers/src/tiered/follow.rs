//! Forgetting what other replicas have forgotten.

use std::sync::Arc;

use super::shared::Shared;
use crate::{CacheLevel, Position, Replicas};

/// The note that says up to where the entries on disk have followed the others.
const NOTE: &str = "replicas.position";

/// Listens for as long as the cache lives. The shared tier has forgotten already; memory and disk follow.
pub(super) async fn run<V: Clone + Send + Sync + 'static>(
    shared: Arc<Shared<V>>,
    replicas: Arc<dyn Replicas>,
) {
    let mut position = read(&shared).await;
    loop {
        let (forgotten, now) = replicas.forgotten_since(position.clone()).await;
        for what in forgotten {
            let followed = shared.forget(what, |level| level != CacheLevel::L3Distributed).await;
            if let Err(error) = followed {
                tracing::warn!(%error, "could not forget on disk what another replica has forgotten");
            }
        }
        if position.as_ref() != Some(&now) {
            write(&shared, &now).await;
        }
        position = Some(now);
    }
}

async fn read<V>(shared: &Shared<V>) -> Option<Position> {
    let note = shared.notes.as_ref()?.read_note(NOTE).await.ok()??;
    String::from_utf8(note).ok().map(Position)
}

async fn write<V>(shared: &Shared<V>, position: &Position) {
    if let Some(notes) = &shared.notes
        && let Err(error) = notes.write_note(NOTE, position.0.clone().into_bytes()).await
    {
        tracing::debug!(%error, "the position among the replicas was not kept");
    }
}
