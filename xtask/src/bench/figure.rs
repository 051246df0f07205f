//! Figures: repeated measurements, their median and spread, the table and the JSON.

use std::fmt::Write as _;

use serde::Serialize;

/// Repeated measurements of one thing.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) count: usize,
    /// All of them, from the least to the most.
    #[serde(skip)]
    pub(crate) values: Vec<f64>,
}

impl Spread {
    /// `None` without measurements.
    pub(crate) fn from_values(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let median = if values.len() % 2 == 1 {
            upper
        } else {
            f64::midpoint(upper, *values.get(middle.checked_sub(1)?)?)
        };
        Some(Self { median, least, most, count: values.len(), values })
    }

    /// The measurements of both as one.
    fn pooled_with(&self, other: &Self) -> Option<Self> {
        Self::from_values(self.values.iter().chain(&other.values).copied().collect())
    }

    pub(crate) fn format_spread(&self, digits: usize) -> String {
        if self.count == 1 {
            return format!("{:.digits$}", self.median);
        }
        format!("{:.digits$} ({:.digits$} to {:.digits$})", self.median, self.least, self.most)
    }
}

/// A bound of a figure.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FigureLimit {
    /// At most so many of the figure's unit.
    AtMost(f64),
    /// At least so many.
    AtLeast(f64),
    /// At most so many times the raw limit.
    TimesRaw(f64),
}

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    /// The thing measured.
    pub(crate) what: String,
    /// In what: `s`, `ms`, `%`, `MiB`, `/s`.
    pub(crate) unit: &'static str,
    /// The limit that the machine itself sets, taken in the same run.
    pub(crate) raw: Option<Spread>,
    /// Muster.
    pub(crate) muster: Spread,
    /// The bound it must keep.
    pub(crate) must: Option<FigureLimit>,
    /// The bound it should keep.
    pub(crate) aim: Option<FigureLimit>,
    /// Where the time went, and other things worth knowing.
    pub(crate) notes: Vec<String>,
}

impl Figure {
    /// True when the median is within a bound; a bound that cannot be computed is not met.
    fn meets_bound(&self, bound: Option<FigureLimit>) -> Option<bool> {
        bound.map(|bound| {
            self.limit_of(bound).is_some_and(|limit| match bound {
                FigureLimit::AtLeast(_) => self.muster.median >= limit,
                FigureLimit::AtMost(_) | FigureLimit::TimesRaw(_) => self.muster.median <= limit,
            })
        })
    }

    /// Adds the measurements of another round of the same.
    fn add_round(&mut self, round: &Self) {
        let raw = self.raw.as_ref().zip(round.raw.as_ref());
        self.raw = raw.and_then(|(raw, more)| raw.pooled_with(more)).or_else(|| self.raw.take());
        if let Some(pooled) = self.muster.pooled_with(&round.muster) {
            self.muster = pooled;
        }
        self.notes.extend(round.notes.iter().cloned());
    }

    fn limit_of(&self, bound: FigureLimit) -> Option<f64> {
        match bound {
            FigureLimit::AtMost(limit) | FigureLimit::AtLeast(limit) => Some(limit),
            FigureLimit::TimesRaw(factor) => self.raw.as_ref().map(|raw| raw.median * factor),
        }
    }

    fn digit_count(&self) -> usize {
        if self.muster.median >= 100.0 {
            0
        } else if self.muster.median >= 10.0 {
            1
        } else {
            3
        }
    }

    fn table_row(&self) -> [String; 6] {
        let digits = self.digit_count();
        let bound = |bound: Option<FigureLimit>| {
            let limit = bound.and_then(|bound| self.limit_of(bound));
            limit.map_or_else(|| "-".to_owned(), |limit| format!("{limit:.digits$}"))
        };
        let verdict = match (self.meets_bound(self.must), self.meets_bound(self.aim)) {
            (None, None) => "-",
            (Some(false), _) => "MISSED",
            (_, Some(true)) => "aim",
            _ => "ok",
        };
        [
            format!("{}, {}", self.what, self.unit),
            self.raw.as_ref().map_or_else(|| "-".to_owned(), |raw| raw.format_spread(digits)),
            self.muster.format_spread(digits),
            bound(self.must),
            bound(self.aim),
            verdict.to_owned(),
        ]
    }
}

/// The figures of several rounds, each thing measured once, in the order of the first round.
pub(crate) fn pool_rounds(rounds: Vec<Vec<Figure>>) -> Vec<Figure> {
    let mut pooled: Vec<Figure> = Vec::new();
    for figure in rounds.into_iter().flatten() {
        match pooled.iter_mut().find(|known| known.what == figure.what) {
            Some(known) => known.add_round(&figure),
            None => pooled.push(figure),
        }
    }
    pooled
}

/// The table, as Markdown that reads well in a terminal too. Where other programs were measured beside ours, theirs have a
/// column of their own.
pub(crate) fn format_table(figures: &[Figure], beside: &[Figure]) -> String {
    let mut header =
        ["what", "raw limit", "Muster", "must", "aim", "met"].map(ToOwned::to_owned).to_vec();
    let mut rows: Vec<Vec<String>> =
        figures.iter().map(|figure| figure.table_row().to_vec()).collect();
    if !beside.is_empty() {
        header.insert(2, "beside".to_owned());
        for (row, figure) in rows.iter_mut().zip(figures) {
            let other = beside.iter().find(|other| other.what == figure.what);
            let digits = figure.digit_count();
            let shown = other.map(|other| other.muster.format_spread(digits));
            row.insert(2, shown.unwrap_or_else(|| "-".to_owned()));
        }
    }
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            let all = std::iter::once(&header).chain(&rows);
            all.filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let line = |row: &[String]| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let mut text = line(&header);
    let _ = writeln!(text, "| {} |", rule.join(" | "));
    for row in &rows {
        text.push_str(&line(row));
    }
    for figure in figures.iter().filter(|figure| !figure.notes.is_empty()) {
        let _ = writeln!(text, "\n{}:", figure.what);
        for note in &figure.notes {
            let _ = writeln!(text, "  {note}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_lies_between() {
        let spread = Spread::from_values(vec![4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(spread.format_spread(1), "2.5 (1.0 to 4.0)");
        assert!(Spread::from_values(Vec::new()).is_none());
    }

    #[test]
    fn a_figure_is_judged_by_its_median_against_bound_or_raw_limit() {
        let figure = Figure {
            what: "a launch".to_owned(),
            unit: "s",
            raw: Spread::from_values(vec![1.0]),
            muster: Spread::from_values(vec![1.0, 1.5, 9.0]).unwrap(),
            must: Some(FigureLimit::TimesRaw(2.0)),
            aim: Some(FigureLimit::AtMost(1.3)),
            notes: Vec::new(),
        };
        assert_eq!(
            figure.table_row(),
            ["a launch, s", "1.000", "1.500 (1.000 to 9.000)", "2.000", "1.300", "ok"]
        );
        let slower = Figure { muster: Spread::from_values(vec![2.1]).unwrap(), ..figure };
        assert_eq!(slower.table_row()[5], "MISSED");
        let (must, aim) = (Some(FigureLimit::AtLeast(2.0)), Some(FigureLimit::AtLeast(2.2)));
        assert_eq!(Figure { must, aim, ..slower }.table_row()[5], "ok");
    }

    fn figure(what: &str, values: &[f64]) -> Figure {
        Figure {
            what: what.to_owned(),
            unit: "s",
            raw: None,
            muster: Spread::from_values(values.to_vec()).unwrap(),
            must: None,
            aim: None,
            notes: Vec::new(),
        }
    }

    #[test]
    fn rounds_of_the_same_are_one_figure() {
        let rounds = vec![
            vec![figure("a launch", &[1.0, 2.0]), figure("a list", &[5.0])],
            vec![figure("a launch", &[9.0])],
        ];
        let pooled = pool_rounds(rounds);
        let shown: Vec<String> = pooled.iter().map(|f| f.muster.format_spread(0)).collect();
        assert_eq!(shown, ["2 (1 to 9)", "5"]);
    }

    #[test]
    fn other_programs_have_a_column_beside_ours() {
        let ours = [figure("a launch", &[1.0, 3.0]), figure("a list", &[4.0])];
        let table = format_table(&ours, &[figure("a launch", &[2.0, 6.0])]);
        assert_eq!(
            table,
            "\
| what        | raw limit | beside                 | Muster                 | must | aim | met |
| ----------- | --------- | ---------------------- | ---------------------- | ---- | --- | --- |
| a launch, s | -         | 4.000 (2.000 to 6.000) | 2.000 (1.000 to 3.000) | -    | -   | -   |
| a list, s   | -         | -                      | 4.000                  | -    | -   | -   |
"
        );
        assert!(!format_table(&ours, &[]).contains("beside"));
    }
}
