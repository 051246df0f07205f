//! Whether two services that the generator has made are one.
//!
//! Owns looking past the order of options: the generator keeps many of them in maps, and writes them as they come. A service that is
//! written anew has systemd read all its files anew, and what runs from the one before is restarted.

/// Options of `podman` whose values among themselves have no order.
const UNORDERED: [&str; 2] = ["--label", "--annotation"];
/// Options that take no value of their own, of those that the generator keeps in maps: the word that follows one may be what the command
/// is for. One that is missing here costs a needless restart at worst.
const FLAGS: [&str; 9] = [
    "--all-tags",
    "--disable-dns",
    "--env-host",
    "--init",
    "--internal",
    "--ipv6",
    "--read-only",
    "--read-only-tmpfs",
    "--tls-verify",
];

/// True if two services differ in nothing but the order of options of `podman`. Several values of one option keep theirs.
pub(super) fn is_same_service(one: &str, other: &str) -> bool {
    one == other
        || one.lines().count() == other.lines().count()
            && one.lines().zip(other.lines()).all(|(one, other)| is_same_line(one, other))
}

fn is_same_line(one: &str, other: &str) -> bool {
    let is_command = |line: &str| line.starts_with("Exec") && line.contains("podman ");
    one == other
        || is_command(one) && is_command(other) && split_command(one) == split_command(other)
}

/// The words of a line in order but for those of options; and these with their values, by name.
fn split_command(line: &str) -> (Vec<&str>, Vec<(&str, &str)>) {
    let (mut ordered, mut options) = (Vec::new(), Vec::new());
    let mut words = split_words(line).into_iter().peekable();
    while let Some(word) = words.next() {
        if !word.starts_with('-') {
            ordered.push(word);
            continue;
        }
        let has_value = !FLAGS.contains(&word) && !word.contains('=');
        let value = if has_value { words.next_if(|next| !next.starts_with('-')) } else { None };
        options.push((word, value.unwrap_or_default()));
    }
    options.sort_by_key(|(option, value)| {
        (*option, if UNORDERED.contains(option) { *value } else { "" })
    });
    (ordered, options)
}

/// The words of a line as they stand there. What is in double quotes is one; a backslash takes the next character along.
fn split_words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut begin = 0;
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, c) in line.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ' ' if !is_quoted => {
                words.extend(line.get(begin..at));
                begin = at + 1;
            }
            _ => {}
        }
    }
    words.extend(line.get(begin..));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: &str, other: &str) -> bool {
        let service = |command: &str| format!("[Service]\nExecStart=/usr/bin/podman {command}\n");
        is_same_service(&service(one), &service(other))
    }

    #[test]
    fn the_order_of_options_means_nothing() {
        assert!(same("run a", "run a"));
        assert!(same(
            "volume create --label a=1 --label \"b=2 --label c\" d",
            "volume create --label \"b=2 --label c\" --label a=1 d"
        ));
        assert!(same(
            "run --rm --stop-timeout 1 --pull never --init -d busybox sleep 1",
            "run --rm --pull never --init --stop-timeout 1 -d busybox sleep 1"
        ));
        assert!(same("network create --internal --ipv6 n", "network create --ipv6 --internal n"));
        assert!(same("run --read-only=false --user 1 b", "run --user 1 --read-only=false b"));
    }

    #[test]
    fn everything_else_that_changes_is_a_change() {
        assert!(!same("run --label a=1 b c", "run --label a=1 c b"));
        assert!(!same("run --label a=1 b", "run --label a=2 b"));
        assert!(!same("run --label a=1 b", "run --annotation a=1 b"));
        assert!(!same("run --label a=1", "run"));
        assert!(!same("run -v a:/x -v b:/x c", "run -v b:/x -v a:/x c"));
        assert!(!same("run --user 1 --group-add 2 b", "run --user 2 --group-add 1 b"));
        assert!(!same("tag a b", "tag b a"));
        assert!(!is_same_service("a\n", "a\nb\n"));
        assert!(!is_same_service("Description=a --x b\n", "Description=--x b a\n"));
    }
}
