//! Where the model is, what is spoken there, and who is asked when it cannot answer.

use classifier_core::{ClassificationSystem, ErrorKind, Outcome};
use serde_json::{Value, json};

use super::{Built, QUERY, UNAVAILABLE, built, try_built};
use crate::llm::server::{Asked, Does, Server};
use crate::support::config;

/// What the server is asked when a question is put to a system with these flags.
async fn asked(flags: &[(&str, &str)]) -> Asked {
    let server = Server::saying("REAL_TIME");
    let Outcome { classification, metadata } = built(&server, flags).ask(QUERY).await;
    assert_eq!((classification.category.as_str(), metadata.degraded), ("REAL_TIME", false));
    server.asked().swap_remove(0)
}

#[tokio::test]
async fn llm_provider_and_model_and_key_are_those_of_the_request() {
    let key = ("llm_api_key", "sk-1");
    let openai = asked(&[("llm_provider", "openai"), ("llm_model", "m-2"), key]).await;
    assert_eq!((openai.path.as_str(), &openai.body["model"]), ("/chat/completions", &json!("m-2")));
    assert_eq!(openai.headers["authorization"], "Bearer sk-1");

    let azure = asked(&[("llm_provider", "azure"), ("llm_model", "m-2"), key]).await;
    assert_eq!(azure.path, "/openai/deployments/m-2/chat/completions?api-version=2024-10-21");
    assert_eq!(azure.headers["api-key"], "sk-1");

    let anthropic = asked(&[
        ("llm_provider", "anthropic"),
        ("streaming_enabled", "false"),
        ("llm_reply_form", "prompt"),
        key,
    ])
    .await;
    assert_eq!((anthropic.path.as_str(), &anthropic.body["model"]), ("/messages", &json!("model-1")));
    assert_eq!(
        (&*anthropic.headers["x-api-key"], &*anthropic.headers["anthropic-version"]),
        ("sk-1", "2023-06-01")
    );
    assert!(!asked(&[]).await.headers.contains_key("authorization"), "there is no key");
}

#[tokio::test]
async fn llm_base_url_may_have_a_path() {
    let server = Server::saying("GENERAL");
    let url = format!("{}/gateway/v1", server.url);
    built(&server, &[("llm_base_url", &url)]).ask(QUERY).await;
    assert_eq!(server.asked()[0].path, "/gateway/v1/chat/completions");
}

#[tokio::test]
async fn llm_api_version_is_asked_for() {
    let azure = asked(&[("llm_provider", "azure"), ("llm_api_version", "2027-01-01")]).await;
    assert!(azure.path.ends_with("?api-version=2027-01-01"), "{}", azure.path);
}

#[tokio::test]
async fn llm_api_key_file_wins_over_llm_api_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, "sk-file\n").unwrap();
    let request = asked(&[("llm_api_key", "sk-flag"), ("llm_api_key_file", path.to_str().unwrap())]).await;
    assert_eq!(request.headers["authorization"], "Bearer sk-file");
}

#[tokio::test]
async fn llm_reply_form_is_how_the_form_is_asked_for() {
    let form = async |form: &str| {
        let flags = [("llm_reply_form", form), ("streaming_enabled", "false")];
        let Value::Object(body) = asked(&flags).await.body else { panic!("no object") };
        (body.get("response_format").map(|format| format["type"].clone()), body.contains_key("tools"))
    };
    assert_eq!(form("auto").await, (Some(json!("json_schema")), false));
    assert_eq!(form("json_schema").await, (Some(json!("json_schema")), false));
    assert_eq!(form("tool").await, (None, true));
    assert_eq!(form("json_object").await, (Some(json!("json_object")), false));
    assert_eq!(form("prompt").await, (None, false));
}

#[test]
fn llm_ca_file_is_read() {
    let server = Server::saying("GENERAL");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let path = path.to_str().unwrap();
    let with = |url: &str| {
        let flags = [("llm_base_url", url), ("llm_ca_file", path), ("llm_model", "gpt-4o-mini")];
        try_built(&server, &folder, &flags).map(drop)
    };
    let error = with(&server.url).unwrap_err();
    assert!(error.to_string().contains("ca_file is for TLS"), "{error}");
    let error = with("https://127.0.0.1:1").unwrap_err();
    assert!(error.to_string().contains("ca.pem"), "{error}");
    std::fs::write(path, "no certificate").unwrap();
    assert_eq!(with("https://127.0.0.1:1").unwrap_err().kind(), ErrorKind::InvalidConfig);
}

#[tokio::test]
async fn llm_fallback_models_are_asked_in_turn() {
    let server = Server::new(|_, asked| match asked.body["model"].as_str() {
        Some("model-3") => Does::Says(crate::llm::scripted::saying("REAL_TIME", 0.9)),
        _ => Does::Fails(500),
    });
    let flags = [("llm_fallback_models", "model-2;model-3")];
    let with = built(&server, &flags);
    let Outcome { classification, metadata } = with.ask(QUERY).await;
    assert_eq!((classification.category.as_str(), metadata.degraded), ("REAL_TIME", false));
    let llm = metadata.llm.unwrap();
    assert_eq!((llm.model.as_deref(), llm.fallback), (Some("model-3"), true));
    let names: Vec<Value> = server.asked().into_iter().map(|asked| asked.body["model"].clone()).collect();
    assert_eq!(names, ["model-1", "model-2", "model-3"]);
    let stats = with.system.llm().unwrap().models();
    assert_eq!(stats.iter().map(|model| &*model.name).collect::<Vec<_>>(), ["model-1", "model-2", "model-3"]);
    assert!(stats.iter().all(|model| model.meter.total.n_calls == 1));
    assert_eq!(built(&server, &[]).ask(QUERY).await.metadata.degraded_reason, UNAVAILABLE);
}

#[tokio::test]
async fn another_provider_is_asked_last() {
    let (first, second) = (Server::new(|_, _| Does::Fails(500)), Server::saying("REAL_TIME"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, "sk-file").unwrap();
    let flags = [
        ("llm_api_key", "sk-1"),
        ("llm_fallback_provider", "azure"),
        ("llm_fallback_model", "deployment-2"),
        ("llm_fallback_base_url", &*second.url),
        ("llm_fallback_api_key", "sk-2"),
    ];
    let with_file = [&flags[..], &[("llm_fallback_api_key_file", path.to_str().unwrap())]].concat();
    for (flags, key) in [(&flags[..], "sk-2"), (&with_file, "sk-file")] {
        let answer = built(&first, flags).ask(QUERY).await;
        assert_eq!(answer.metadata.llm.unwrap().model.as_deref(), Some("deployment-2"));
        let asked = second.asked().pop().unwrap();
        assert!(asked.path.starts_with("/openai/deployments/deployment-2/"), "{}", asked.path);
        assert_eq!(asked.headers["api-key"], key);
    }
}

#[test]
fn what_cannot_be_used_is_said_clearly() {
    let server = Server::saying("GENERAL");
    let check = |flags: &[(&str, &str)], expected: &str| {
        let error = try_built(&server, &tempfile::tempdir().unwrap(), flags).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(&[("llm_provider", "none")], "set llm_provider");
    check(&[("llm_model", "")], "set llm_model");
    check(&[("llm_base_url", "ftp://x")], "base_url begins with neither http:// nor https://");
    check(&[("llm_base_url", "http://u:pw@127.0.0.1")], "give them as api_key");
    check(&[("llm_provider", "azure"), ("llm_base_url", "")], "base_url is empty");
    check(&[("llm_provider", "anthropic"), ("llm_reply_form", "json_object")], "choose another");
    check(&[("llm_fallback_provider", "openai")], "llm_fallback_model");
    check(&[("llm_base_url", "http://10.0.0.1"), ("llm_model", "nobody-knows-me")], "nobody-knows-me");
    check(&[("category_confidence_thresholds", "GENERAL=0.5;SPORT=0.5")], "`SPORT`, which does not exist");
}

#[test]
fn without_a_provider_there_is_no_path() {
    let system = ClassificationSystem::builder(&config(&[])).build().unwrap();
    assert!(system.llm().is_none());
    let Built { system, .. } = built(&Server::saying("GENERAL"), &[]);
    assert!(system.llm().is_some());
}
