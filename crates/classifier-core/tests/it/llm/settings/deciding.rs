//! Who decides, and from when on.

use classifier_core::Source;

use super::{Built, built};
use crate::llm::server::Server;
use crate::support::{QUESTIONS, built_in};

/// Which of the questions are put to the model.
async fn put_to_the_model(flags: &[(&str, &str)]) -> Vec<&'static str> {
    let server = Server::saying("GENERAL");
    let built = built(&server, flags);
    let mut asked = Vec::new();
    for query in QUESTIONS {
        if built.ask(query).await.metadata.source == Source::Llm {
            asked.push(query);
        }
    }
    assert_eq!(server.n_asked(), asked.len());
    asked
}

#[tokio::test]
async fn classifier_mode_says_who_decides() {
    assert_eq!(put_to_the_model(&[("classifier_mode", "llm")]).await, QUESTIONS);
    let never = [("confidence_threshold", "0")];
    assert_eq!(put_to_the_model(&[&never[..], &[("classifier_mode", "llm")]].concat()).await, QUESTIONS);
    for mode in ["auto", "cascade"] {
        assert_eq!(put_to_the_model(&[&never[..], &[("classifier_mode", mode)]].concat()).await, [""; 0]);
        let always = [("confidence_threshold", "1"), ("classifier_mode", mode)];
        assert_eq!(put_to_the_model(&always).await, QUESTIONS);
    }
    let Built { system, .. } = built(&Server::saying("GENERAL"), &[("classifier_mode", "embedded")]);
    assert!(system.llm().is_none(), "a provider alone does not make it asked");
}

#[tokio::test]
async fn confidence_threshold_and_those_of_categories_say_from_when_on() {
    let mode = ("classifier_mode", "cascade");
    let asked = put_to_the_model(&[mode, ("confidence_threshold", "0.97")]).await;
    let is_unsure = |query: &&str| built_in().classify(query).confidence < 0.97;
    assert_eq!(asked, QUESTIONS.into_iter().filter(is_unsure).collect::<Vec<_>>());
    let thresholds = ("category_confidence_thresholds", "REAL_TIME=1");
    let asked = put_to_the_model(&[mode, ("confidence_threshold", "0"), thresholds]).await;
    let is_news = |query: &&str| built_in().classify(query).category.as_str() == "REAL_TIME";
    assert_eq!(asked, QUESTIONS.into_iter().filter(is_news).collect::<Vec<_>>());
    assert!(!asked.is_empty());
}
