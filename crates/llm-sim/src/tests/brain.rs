//! What the model says of a question.

use crate::Brain;

fn offered() -> Vec<String> {
    ["KNOWLEDGE_GRAPH", "REAL_TIME", "GENERAL"].map(ToOwned::to_owned).to_vec()
}

fn category(brain: &Brain, query: &str, offered: &[String]) -> String {
    brain.answer(query, offered, 0, 0.0).category
}

#[test]
fn labels_come_first_then_rules() {
    let brain =
        Brain::default().with_labelled([("latest pathway", "KNOWLEDGE_GRAPH"), ("both", "HYBRID")]).unwrap();
    assert_eq!(category(&brain, " latest pathway ", &offered()), "KNOWLEDGE_GRAPH");
    assert_eq!(category(&brain, "The LATEST pathway", &offered()), "REAL_TIME");
    assert_eq!(category(&brain, "hello", &offered()), "GENERAL");
    let both = brain.answer("both", &offered(), 0, 0.0);
    assert_eq!((both.category.as_str(), both.alternative.as_deref()), ("KNOWLEDGE_GRAPH", Some("REAL_TIME")));
}

#[test]
fn categories_are_spelled_as_they_are_offered() {
    let brain = Brain::default();
    let offered = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(category(&brain, "news", &offered(&["general", "real_time"])), "real_time");
    assert_eq!(category(&brain, "news", &offered(&["K", "R", "G"])), "R");
    // What it means is not offered; the default is.
    assert_eq!(category(&brain, "news", &offered(&["KNOWLEDGE_GRAPH", "GENERAL"])), "GENERAL");
    // Nothing is; it says something all the same, and always that.
    let other = offered(&["cat", "dog"]);
    assert!(other.contains(&category(&brain, "news", &other)));
    assert_eq!(category(&brain, "news", &other), category(&brain, "news", &other));
}

#[test]
fn labels_and_rules_are_read_from_files() {
    let directory = tempfile::tempdir().unwrap();
    let labels = directory.path().join("labels.jsonl");
    std::fs::write(&labels, "{\"query\": \"a\", \"label\": \"REAL_TIME\", \"group\": 1}\n\n{\"query\": 1}\n")
        .unwrap();
    let error = Brain::default().with_labels(&labels).unwrap_err().to_string();
    assert!(error.contains("labels.jsonl, line 3: "), "{error}");
    std::fs::write(&labels, "{\"query\": \"a\", \"label\": \"REAL_TIME\"}\n").unwrap();
    let rules = directory.path().join("rules.toml");
    std::fs::write(
        &rules,
        "default = \"REAL_TIME\"\n[[rules]]\ncontains = \"What\"\ncategory = \"GENERAL\"\n",
    )
    .unwrap();
    let brain = Brain::default().with_labels(&labels).unwrap().with_rules(&rules).unwrap();
    assert_eq!(category(&brain, "a", &offered()), "REAL_TIME");
    assert_eq!(category(&brain, "so what", &offered()), "GENERAL");
    assert_eq!(category(&brain, "pathway", &offered()), "REAL_TIME");
    std::fs::write(&rules, "colour = 1").unwrap();
    assert!(Brain::default().with_rules(&rules).unwrap_err().to_string().contains("rules.toml"));
}
