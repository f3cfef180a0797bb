//! The file of fixed tokens (`--token-auth-file`): `token,name,uid,"group,group"` in each line.

use kstore_apiserver::auth::User;

/// The tokens of a file and whose they are.
pub(crate) fn parse(text: &str) -> Result<Vec<(String, User)>, String> {
    let mut tokens = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = || format!("line {} of the token file is not token,name,uid", index + 1);
        let fields = fields(line);
        let [token, name, uid, rest @ ..] = fields.as_slice() else { return Err(wrong()) };
        if token.is_empty() {
            return Err(wrong());
        }
        let groups = rest.first().map(String::as_str).unwrap_or_default();
        let groups = groups.split(',').map(str::trim).filter(|group| !group.is_empty());
        let user = User {
            name: name.clone(),
            uid: uid.clone(),
            groups: groups.map(str::to_owned).collect(),
            ..User::default()
        };
        tokens.push((token.clone(), user));
    }
    Ok(tokens)
}

/// The fields of a line; quotes hold commas together, and two of them are one.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut letters = line.trim_end().chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                push(&mut fields, '"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            letter => push(&mut fields, letter),
        }
    }
    fields
}

fn push(fields: &mut [String], letter: char) {
    if let Some(last) = fields.last_mut() {
        last.push(letter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_a_user_and_groups() {
        let known = parse("secret,jane,7,\"devs,ops\"\n\n# a remark\nother,joe,8\n").unwrap();
        assert_eq!(known[0].0, "secret");
        assert_eq!((known[0].1.name.as_str(), known[0].1.uid.as_str()), ("jane", "7"));
        assert_eq!(known[0].1.groups, ["devs", "ops"]);
        assert!(known[1].1.groups.is_empty());
    }

    #[test]
    fn a_line_without_a_user_is_refused() {
        assert!(parse("secret,jane\n").unwrap_err().contains("line 1"));
        assert!(parse(",jane,7\n").is_err());
    }
}
