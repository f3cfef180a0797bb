//! What differs between two trees, line by line, as upstream shows it.
//!
//! ```text
//!   blocks of equal lines ─► runs (same, other) ─► groups of runs with three lines around ─► text
//! ```
//!
//! The blocks are found as Python's `difflib` finds them, which upstream's library imitates: the
//! longest block first, then those before and after it. Where lines repeat, another way of
//! comparing would show other lines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use serde_json::Value;

/// Lines around a difference that are shown with it.
const CONTEXT: usize = 3;
/// Comparing every line with every other is for what people write; beyond this many pairs all of
/// both texts counts as different.
const PAIRS: usize = 25_000_000;
/// In a text of so many lines, those that make more than a hundredth of it start no block.
const LONG: usize = 200;

/// Lines of the old text that were replaced by lines of the new one, or are equal to them.
#[derive(Debug, Clone)]
struct Run {
    old: Range<usize>,
    new: Range<usize>,
    same: bool,
}

/// What differs between two trees; empty if nothing does.
pub(super) fn unified(old: &Value, new: &Value) -> String {
    let (old, new) = (pretty(old), pretty(new));
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let mut text = String::new();
    for group in groups(runs(&old, &new)) {
        write_group(&mut text, &group, &old, &new);
    }
    text
}

/// A tree as lines, one blank deeper for each level.
fn pretty(value: &Value) -> String {
    let text = serde_json::to_string_pretty(value).expect("a tree is written to memory");
    let indented_once = |line: &str| {
        let rest = line.trim_start_matches(' ');
        format!("{}{rest}\n", " ".repeat((line.len() - rest.len()) / 2))
    };
    let text: String = text.lines().map(indented_once).collect();
    // Upstream's JSON can be put into a page: these characters are escaped, wherever they stand.
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// Equal and different lines by turns.
fn runs(old: &[&str], new: &[&str]) -> Vec<Run> {
    let mut blocks = Vec::new();
    if old.len() * new.len() <= PAIRS {
        let mut open = vec![(0..old.len(), 0..new.len())];
        let places = places(new);
        while let Some((in_old, in_new)) = open.pop() {
            let (from, to, length) = longest(old, new, &places, &in_old, &in_new);
            if length > 0 {
                blocks.push((from, to, length));
                open.push((in_old.start..from, in_new.start..to));
                open.push((from + length..in_old.end, to + length..in_new.end));
            }
        }
    }
    blocks.sort_unstable();
    blocks.push((old.len(), new.len(), 0));
    let (mut at_old, mut at_new, mut runs) = (0, 0, Vec::<Run>::new());
    for (from, to, length) in blocks {
        if at_old < from || at_new < to {
            runs.push(Run { old: at_old..from, new: at_new..to, same: false });
        }
        (at_old, at_new) = (from + length, to + length);
        match runs.last_mut() {
            Some(last) if last.same => (last.old.end, last.new.end) = (at_old, at_new),
            _ if length > 0 => {
                runs.push(Run { old: from..at_old, new: to..at_new, same: true });
            }
            _ => {}
        }
    }
    runs
}

/// Where each line stands that can start a block.
fn places<'a>(text: &[&'a str]) -> BTreeMap<&'a str, Vec<usize>> {
    let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, line) in text.iter().enumerate() {
        places.entry(line).or_default().push(index);
    }
    if text.len() >= LONG {
        places.retain(|_, at| at.len() <= text.len() / 100 + 1);
    }
    places
}

/// The longest block of equal lines within two ranges: where it begins in both, and its length.
fn longest(
    old: &[&str],
    new: &[&str],
    places: &BTreeMap<&str, Vec<usize>>,
    in_old: &Range<usize>,
    in_new: &Range<usize>,
) -> (usize, usize, usize) {
    let (mut from, mut to, mut length) = (in_old.start, in_new.start, 0);
    // How long the block is that ends at a line of the new text and the old line before.
    let mut ending: BTreeMap<usize, usize> = BTreeMap::new();
    for index in in_old.clone() {
        let mut next = BTreeMap::new();
        let at = places.get(old[index]).map_or(&[][..], Vec::as_slice);
        for &place in at.iter().filter(|place| in_new.contains(place)) {
            let before = place.checked_sub(1).and_then(|place| ending.get(&place));
            let long = before.map_or(1, |long| long + 1);
            next.insert(place, long);
            if long > length {
                (from, to, length) = (index + 1 - long, place + 1 - long, long);
            }
        }
        ending = next;
    }
    while from > in_old.start && to > in_new.start && old[from - 1] == new[to - 1] {
        (from, to, length) = (from - 1, to - 1, length + 1);
    }
    while from + length < in_old.end
        && to + length < in_new.end
        && old[from + length] == new[to + length]
    {
        length += 1;
    }
    (from, to, length)
}

/// The runs that are shown together: those with few equal lines between them.
fn groups(mut runs: Vec<Run>) -> Vec<Vec<Run>> {
    if let Some(first) = runs.first_mut().filter(|run| run.same) {
        shorten(&mut first.old, &mut first.new, |range| range.start = last_lines(range));
    }
    if let Some(last) = runs.last_mut().filter(|run| run.same) {
        shorten(&mut last.old, &mut last.new, |range| range.end = first_lines(range));
    }
    let (mut groups, mut group) = (Vec::new(), Vec::new());
    for mut run in runs {
        if run.same && run.old.len() > 2 * CONTEXT {
            let mut end = run.clone();
            shorten(&mut end.old, &mut end.new, |range| range.end = first_lines(range));
            group.push(end);
            groups.push(std::mem::take(&mut group));
            shorten(&mut run.old, &mut run.new, |range| range.start = last_lines(range));
        }
        group.push(run);
    }
    groups.push(group);
    groups.retain(|group: &Vec<Run>| group.iter().any(|run| !run.same));
    groups
}

fn shorten(old: &mut Range<usize>, new: &mut Range<usize>, how: impl Fn(&mut Range<usize>)) {
    how(old);
    how(new);
}

fn first_lines(range: &Range<usize>) -> usize {
    range.end.min(range.start + CONTEXT)
}

fn last_lines(range: &Range<usize>) -> usize {
    range.start.max(range.end.saturating_sub(CONTEXT))
}

fn write_group(text: &mut String, group: &[Run], old: &[&str], new: &[&str]) {
    let (Some(first), Some(last)) = (group.first(), group.last()) else { return };
    let range = |start: usize, end: usize| match end - start {
        1 => format!("{}", start + 1),
        0 => format!("{start},0"),
        length => format!("{},{length}", start + 1),
    };
    let in_old = range(first.old.start, last.old.end);
    let in_new = range(first.new.start, last.new.end);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "@@ -{in_old} +{in_new} @@");
    let mut write = |mark: char, lines: &[&str]| {
        for line in lines {
            let _ = writeln!(text, "{mark}{line}");
        }
    };
    for run in group {
        if run.same {
            write(' ', &old[run.old.clone()]);
        } else {
            write('-', &old[run.old.clone()]);
            write('+', &new[run.new.clone()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_line_is_shown_with_its_neighbours() {
        let old = serde_json::json!({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6});
        let mut new = old.clone();
        new["e"] = 50.into();
        assert_eq!(
            unified(&old, &new),
            "@@ -3,6 +3,6 @@\n  \"b\": 2,\n  \"c\": 3,\n  \"d\": 4,\n- \"e\": 5,\n+ \"e\": 50,\n  \
             \"f\": 6\n }\n"
        );
        assert_eq!(unified(&old, &old), "");
    }
}
