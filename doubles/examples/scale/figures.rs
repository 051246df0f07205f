//! What was measured, as lines of JSON.

use serde::Serialize;

/// One figure: what, in which unit, every value that was taken, and the machine's own limit where there is one.
#[derive(Debug, Serialize)]
pub(crate) struct FigureLine<'a> {
    pub(crate) what: &'a str,
    pub(crate) unit: &'a str,
    pub(crate) values: &'a [f64],
    pub(crate) raw: &'a [f64],
    pub(crate) notes: &'a [String],
}

pub(crate) fn print_figure(what: &str, unit: &str, values: &[f64]) {
    print_line(&FigureLine { what, unit, values, raw: &[], notes: &[] });
}

pub(crate) fn print_line(line: &FigureLine<'_>) {
    let text = serde_json::to_string(line).unwrap();
    println!("{text}");
}

/// Says what goes on, to whoever waits.
pub(crate) fn say(text: &str) {
    eprintln!("scale: {text}");
}
