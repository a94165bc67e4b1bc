//! Figures as a table for people.

use super::Figure;

/// One line a figure below a line of headings, each with its line break.
pub fn table(figures: &[Figure]) -> String {
    let mut rows = vec![["figure", "value", "unit", "goal", "met"].map(str::to_owned)];
    rows.extend(figures.iter().map(|figure| {
        let met = match figure.met {
            None => "",
            Some(true) => "yes",
            Some(false) => "NO",
        };
        [
            figure.name.to_owned(),
            spell(figure.value),
            figure.unit.to_owned(),
            figure.goal.map(|goal| goal.to_string()).unwrap_or_default(),
            met.to_owned(),
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (names, values, units, goals) = (width(0), width(1), width(2), width(3));
    let mut table = String::new();
    for [name, value, unit, goal, met] in &rows {
        let line = format!("{name:names$}  {value:>values$}  {unit:units$}  {goal:>goals$}  {met}");
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

/// Three decimals at the most, none from a thousand on.
fn spell(value: f64) -> String {
    if value.abs() >= 1000.0 {
        return format!("{value:.0}");
    }
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::Goal;
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let figures = [
            Figure::new("a.p50", 21.25391, "µs").with_goal(Goal::AtMost(40.0)),
            Figure::new("a.per_second", 43_210.9, "queries/s").with_goal(Goal::AtLeast(50_000.0)),
            Figure::new("timer", 20.0, "ns"),
        ];
        let expected = [
            "figure         value  unit           goal  met",
            "a.p50         21.254  µs            <= 40  yes",
            "a.per_second   43211  queries/s  >= 50000  NO",
            "timer             20  ns",
            "",
        ];
        assert_eq!(table(&figures), expected.join("\n"));
    }
}
