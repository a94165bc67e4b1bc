//! A figure, and the goal it may have.

use std::fmt;

use serde::{Serialize, Serializer};

/// Something measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What it is called, with the part it belongs to before the dots.
    pub name: &'static str,
    /// What was measured, in the unit.
    pub value: f64,
    /// The unit.
    pub unit: &'static str,
    /// What was promised, if anything was.
    pub goal: Option<Goal>,
    /// Whether that is reached; only a goal can be.
    pub met: Option<bool>,
}

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
}

impl Figure {
    /// A figure without a goal.
    pub(super) fn new(name: &'static str, value: f64, unit: &'static str) -> Self {
        Self { name, value, unit, goal: None, met: None }
    }

    /// The figure, judged.
    pub(super) fn with_goal(self, goal: Goal) -> Self {
        Self { met: Some(goal.is_met_by(self.value)), goal: Some(goal), ..self }
    }
}

impl Goal {
    /// No number that is none reaches a goal.
    fn is_met_by(self, value: f64) -> bool {
        match self {
            Self::AtMost(bound) => value <= bound,
            Self::AtLeast(bound) => value >= bound,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(bound) => write!(f, "<= {bound}"),
            Self::AtLeast(bound) => write!(f, ">= {bound}"),
        }
    }
}

impl Serialize for Goal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_judged() {
        let met = |value, goal| Figure::new("x", value, "ns").with_goal(goal).met;
        assert_eq!(met(2.0, Goal::AtMost(2.0)), Some(true));
        assert_eq!(met(2.01, Goal::AtMost(2.0)), Some(false));
        assert_eq!(met(2.0, Goal::AtLeast(2.0)), Some(true));
        assert_eq!(met(1.99, Goal::AtLeast(2.0)), Some(false));
        assert_eq!(met(f64::NAN, Goal::AtMost(2.0)), Some(false));
    }

    #[test]
    fn the_json_is_what_xtask_reads() {
        let figures = [
            Figure::new("a.p50_us", 21.5, "µs").with_goal(Goal::AtMost(40.0)),
            Figure::new("model.bytes", 7.0, "bytes").with_goal(Goal::AtMost(1_048_576.0)),
            Figure::new("b", 3.0, "ns"),
        ];
        assert_eq!(
            serde_json::to_string(&figures).unwrap(),
            concat!(
                r#"[{"name":"a.p50_us","value":21.5,"unit":"µs","goal":"<= 40","met":true},"#,
                r#"{"name":"model.bytes","value":7.0,"unit":"bytes","goal":"<= 1048576","met":true},"#,
                r#"{"name":"b","value":3.0,"unit":"ns","goal":null,"met":null}]"#
            )
        );
    }
}
