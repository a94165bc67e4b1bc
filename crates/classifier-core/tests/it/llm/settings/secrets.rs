//! Keys: no error, no `Debug` and no line of the log has them.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use classifier_core::config::Layers;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::{QUERY, built, try_built};
use crate::llm::server::{Does, Server};

const KEY: &str = "sk-topmost-secret";

/// Writes down all that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.lock().unwrap().push_str(&format!("{field}={value:?} "));
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::DEBUG
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        attributes.record(&mut self.clone());
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn a_key_is_nowhere_to_be_seen() {
    let log = Log::default();
    // For all threads, since most is logged in the background; no other test looks at it.
    tracing::subscriber::set_global_default(log.clone()).unwrap();
    let server = Server::new(|number, _| match number % 3 {
        0 => Does::Fails(401),
        1 => Does::Fails(400),
        _ => Does::Says("no".to_owned()),
    });
    let flags = [("llm_api_key", KEY)];
    let built = built(&server, &flags);
    for number in 0..6 {
        let answer = built.ask(&format!("{QUERY} {number}")).await;
        assert!(answer.metadata.degraded);
    }
    assert!(server.asked().iter().all(|asked| asked.headers["authorization"].ends_with(KEY)));
    let path = built.system.llm().unwrap();
    for shown in [
        format!("{:?} {path:?} {:?} {:?}", built.system, path.models(), path.cascade()),
        path.cascade().llm().model().to_string(),
    ] {
        assert!(!shown.contains(KEY), "{shown}");
    }

    let folder = tempfile::tempdir().unwrap();
    let broken = format!("{KEY}\u{7f}");
    let inside = format!("http://user:{KEY}@127.0.0.1");
    let file = folder.path().join("key");
    std::fs::write(&file, format!("{KEY}\n{KEY}\n")).unwrap();
    for flag in [
        ("llm_api_key", &*broken),
        ("llm_base_url", &*inside),
        ("llm_api_key_file", file.to_str().unwrap()),
        ("llm_api_key_file", "/no/such/key"),
    ] {
        let error = try_built(&server, &folder, &[("llm_api_key", KEY), flag]).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(KEY), "{shown}");
    }

    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let flags = [("llm_api_key", KEY), ("llm_fallback_api_key", KEY), ("llm_base_url", &*inside)];
    let resolved = Layers { flags: flags.map(owned).into(), ..Layers::default() }.resolve().unwrap();
    let shown = format!("{resolved:?}");
    assert!(!shown.contains(KEY), "{shown}");

    let logged = log.0.lock().unwrap();
    assert!(logged.contains("the embedded classifier answers instead"), "{logged}");
    assert!(!logged.contains(KEY) && !logged.contains(QUERY), "{logged}");
}
