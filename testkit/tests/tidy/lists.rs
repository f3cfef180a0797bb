//! Lists in documents and settings: tables in Markdown, arrays in TOML with one entry on a line.

/// The cells of the first table below `heading`, without its head and ruler.
pub(crate) fn table_below(text: &str, heading: &str) -> Vec<Vec<String>> {
    text.lines()
        .skip_while(|line| line.trim_start_matches('#').trim() != heading)
        .skip(1)
        .take_while(|line| !line.starts_with('#'))
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            let cells = line.trim().trim_matches('|').split('|');
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

/// The lines of the TOML array `key` in `[section]`: each holds one entry, comments are left out.
pub(crate) fn array_lines(text: &str, section: &str, key: &str) -> Vec<String> {
    text.lines()
        .skip_while(|line| line.trim() != format!("[{section}]"))
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .skip_while(|line| line.trim() != format!("{key} = ["))
        .skip(1)
        .take_while(|line| line.trim() != "]")
        .map(|line| line.trim().trim_end_matches(',').to_owned())
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

/// The names before `=` in the TOML table `[section]`, with what stands behind.
pub(crate) fn settings(text: &str, section: &str) -> Vec<(String, String)> {
    text.lines()
        .skip_while(|line| line.trim() != format!("[{section}]"))
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim().trim_matches('"').to_owned(), value.trim().to_owned()))
        .collect()
}

/// What stands in quotes behind `field =` in an inline TOML table.
pub(crate) fn field<'a>(entry: &'a str, field: &str) -> Option<&'a str> {
    let (_, behind) = entry.split_once(&format!("{field} = \""))?;
    behind.split('"').next()
}

/// Everything in quotes in the list behind `field =` in an inline TOML table.
pub(crate) fn field_list<'a>(entry: &'a str, field: &str) -> Vec<&'a str> {
    let Some((_, behind)) = entry.split_once(&format!("{field} = [")) else { return Vec::new() };
    let inside = behind.split(']').next().unwrap_or_default();
    inside.split('"').skip(1).step_by(2).collect()
}
