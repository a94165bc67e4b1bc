//! Forgetting, and hearing of what other replicas have forgotten.

use std::time::Duration;

use async_trait::async_trait;
use fred::error::Error;
use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::{ClusterHash, CustomCommand, Value};
use hp_base::Backoff;
use tokio::time::timeout;

use super::RemoteTier;
use super::names::{self, Names};
use super::server::{Server, garbled, not_connected};
use super::tasks::LOOK_EVERY;
use crate::{Forget, Position, Replicas};

/// So many entries of the history are read at once.
const PAGE: usize = 1000;

/// One entry of the history.
struct Said {
    id: String,
    origin: String,
    what: String,
}

impl Server {
    /// Drops entries on the server, and says so in the history.
    pub(super) async fn forget(&self, what: Forget) -> Result<(), Error> {
        let names = &self.names;
        match what {
            Forget::Key(key) => {
                let epoch = self.epoch().ok_or_else(not_connected)?;
                let connection = self.connection().ok_or_else(not_connected)?;
                // Before it is said, so that nobody who hears it finds the entry.
                let _: i64 = connection.del(names.entry(epoch, &key)).await?;
                let args = [&*self.origin, &*key.to_string(), Names::HISTORY_LENGTH];
                self.script(names::ANNOUNCE, &[&names.forgotten], &args).await?;
            }
            Forget::All => {
                let known = self.epoch().unwrap_or_default().to_string();
                let args = [&*known, &*self.origin, Names::HISTORY_LENGTH];
                let epoch = self.script(names::FLUSH, &[&names.epoch, &names.forgotten], &args).await?;
                self.learn_epoch(epoch.as_u64().ok_or_else(garbled)?);
            }
        }
        Ok(())
    }

    /// The position of the last entry of the history.
    async fn present(&self) -> Result<Position, Error> {
        let id = self.script(names::PRESENT, &[&self.names.forgotten], &[&self.origin]).await?;
        id.as_string().filter(|id| is_position(id)).map(Position).ok_or_else(garbled)
    }

    /// What was said from a position on, itself first.
    async fn said_from(&self, position: &Position) -> Result<Vec<Said>, Error> {
        let connection = self.connection().ok_or_else(not_connected)?;
        let command = CustomCommand::new_static("XRANGE", ClusterHash::FirstKey, false);
        let args = [&self.names.forgotten, &position.0, "+", "COUNT", &PAGE.to_string()].map(str::to_owned);
        let page: Value = connection.custom(command, args.to_vec()).await?;
        page.into_array().into_iter().map(said).collect::<Option<_>>().ok_or_else(garbled)
    }

    /// What others have forgotten after the position, or nothing yet; the position moves on past what was read.
    async fn news(&self, position: &mut Position) -> Result<Vec<Forget>, Error> {
        let mut forgotten = Vec::new();
        loop {
            let page = self.said_from(position).await?;
            if page.first().is_none_or(|first| first.id != position.0) {
                *position = self.present().await?;
                return Ok(vec![Forget::All]);
            }
            let is_last = page.len() < PAGE;
            for said in page.into_iter().skip(1) {
                let what = match said.what.as_str() {
                    _ if said.origin == self.origin => None,
                    "begin" => None,
                    "all" => Some(Forget::All),
                    key => key.parse().ok().map(Forget::Key),
                };
                forgotten.extend(what);
                position.0 = said.id;
            }
            if is_last {
                return Ok(forgotten);
            }
        }
    }
}

fn said(entry: Value) -> Option<Said> {
    let [id, fields] = <[Value; 2]>::try_from(entry.into_array()).ok()?;
    let fields: Vec<String> =
        fields.into_array().iter().map(|field| field.as_string().unwrap_or_default()).collect();
    let field = |name: &str| {
        fields.chunks_exact(2).find(|pair| pair[0] == name).map(|pair| pair[1].clone()).unwrap_or_default()
    };
    Some(Said { id: id.as_string()?, origin: field("origin"), what: field("what") })
}

/// Whether it is an id of a stream: two numbers with a hyphen between them.
fn is_position(id: &str) -> bool {
    id.split_once('-')
        .is_some_and(|(time, number)| time.parse::<u64>().is_ok() && number.parse::<u64>().is_ok())
}

#[async_trait]
impl<V: Send + Sync + 'static> Replicas for RemoteTier<V> {
    async fn forgotten_since(&self, position: Option<Position>) -> (Vec<Forget>, Position) {
        let server = &*self.server;
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        let mut usable = server.is_usable.subscribe();
        let mut doorbell = server.doorbell.subscribe();
        // A position that is none, of another program or another server, reaches back to nothing.
        let is_strange = position.as_ref().is_some_and(|position| !is_position(&position.0));
        let mut position = position.filter(|_| !is_strange);
        loop {
            // OK to ignore: the sender lives as long as the tier.
            let _ = usable.wait_for(|&is_usable| is_usable).await;
            doorbell.borrow_and_update();
            let news = match &mut position {
                Some(position) => server.news(position).await.map(|news| (news, position.clone())),
                None => {
                    let begin = if is_strange { vec![Forget::All] } else { Vec::new() };
                    match server.present().await {
                        Ok(present) => return (begin, present),
                        Err(error) => Err(error),
                    }
                }
            };
            match news {
                Ok((news, position)) if !news.is_empty() => return (news, position),
                Ok(_) => {
                    backoff.reset();
                    let _ = timeout(LOOK_EVERY, doorbell.changed()).await;
                }
                Err(error) => {
                    server.note_error(&error.to_string());
                    tokio::time::sleep(backoff.next()).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_two_numbers() {
        assert!(is_position("1700000000000-0"));
        for strange in ["", "-", "+", "0", "1-", "1-x", "$"] {
            assert!(!is_position(strange), "{strange}");
        }
    }

    #[test]
    fn entries_are_read_and_strange_ones_refused() {
        let text = |text: &str| Value::from(text);
        let fields = Value::Array(["origin", "a", "what", "all"].map(text).to_vec());
        let entry = said(Value::Array(vec![text("1-0"), fields])).unwrap();
        assert_eq!((&*entry.id, &*entry.origin, &*entry.what), ("1-0", "a", "all"));
        assert!(said(Value::Integer(1)).is_none());
        assert!(said(Value::Array(vec![text("1-0")])).is_none());
    }
}
