//! `hp-classify config`: what is configured, and where it came from.

use std::io::Write;
use std::sync::Arc;

use classifier_core::config::{Layers, Origin, schema};
use classifier_core::{ClassificationSystem, Config, EmbeddedClassifier, embedded_classifier};
use serde_json::{Map, json};

use crate::cli::ConfigAction;
use crate::terminal::{self, DIM};

pub(crate) fn run(action: &ConfigAction, layers: &Layers, json: bool) -> anyhow::Result<()> {
    let mut out = terminal::stdout();
    match action {
        ConfigAction::Schema => writeln!(out, "{:#}", schema())?,
        ConfigAction::Show => {
            let resolved = layers.resolve()?;
            if json {
                let entry =
                    |(name, value, origin)| (String::from(name), json!({"value": value, "origin": origin}));
                let shown: Map<_, _> = resolved.origins.into_iter().map(entry).collect();
                writeln!(out, "{}", serde_json::Value::Object(shown))?;
                return Ok(());
            }
            for (name, value, origin) in resolved.origins {
                let origin = match origin {
                    Origin::Default => "default".to_owned(),
                    Origin::File => format!("file {}", layers.file.as_ref().map_or("", |(file, _)| file)),
                    Origin::Environment => format!("environment HP_{}", name.to_uppercase()),
                    Origin::Flag => "flag".to_owned(),
                };
                writeln!(out, "{name:<30} = {:<20} {DIM}# {origin}{DIM:#}", value.to_string())?;
            }
        }
        ConfigAction::Check => {
            let config = layers.resolve()?.config;
            let classifier = embedded_classifier(&config)?;
            check_servers(config)?;
            let taxonomy = classifier.taxonomy();
            let n_categories = taxonomy.categories().len();
            let n_rows = classifier.n_training_rows();
            if json {
                let found = json!({
                    "ok": true,
                    "taxonomy_revision": taxonomy.revision(),
                    "categories": n_categories,
                    "training_rows": n_rows,
                });
                writeln!(out, "{found}")?;
            } else {
                writeln!(
                    out,
                    "fine: taxonomy {} with {n_categories} categories, model trained on {n_rows} rows",
                    taxonomy.revision()
                )?;
            }
        }
    }
    Ok(())
}

/// Refuses what is said of Redis and of language models if it cannot be used. Whether a server answers is another matter.
fn check_servers(mut config: Config) -> anyhow::Result<()> {
    // Nothing else is to be opened for this.
    config.l2.enabled = false;
    let builder = ClassificationSystem::builder(&config);
    let builder = if config.llm.is_asked_for() {
        builder
    } else {
        builder.with_classifier(Arc::new(EmbeddedClassifier::built_in()))
    };
    builder.build()?;
    Ok(())
}
