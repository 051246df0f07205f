//! Whether two services that the generator has made are one.
//!
//! Owns looking past the order of labels and annotations: the generator keeps them in a map, and writes them as they come. A service that is
//! written anew has systemd read all its files anew.

/// Options of `podman` whose order among themselves means nothing, and changes.
const UNORDERED: [&str; 2] = ["--label", "--annotation"];

/// True if two services differ in nothing but the order of labels and annotations.
pub(super) fn is_same_service(one: &str, other: &str) -> bool {
    one == other
        || one.lines().count() == other.lines().count()
            && one
                .lines()
                .zip(other.lines())
                .all(|(one, other)| one == other || split_command(one) == split_command(other))
}

/// The words of a line in order but for those of unordered options, and these by themselves, sorted.
fn split_command(line: &str) -> (Vec<&str>, Vec<(&str, &str)>) {
    let (mut ordered, mut unordered) = (Vec::new(), Vec::new());
    let mut words = split_words(line).into_iter();
    while let Some(word) = words.next() {
        if UNORDERED.contains(&word) {
            unordered.push((word, words.next().unwrap_or_default()));
        } else {
            ordered.push(word);
        }
    }
    unordered.sort_unstable();
    (ordered, unordered)
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

    #[test]
    fn only_the_order_of_labels_means_nothing() {
        let service = |command: &str| format!("[Service]\nExecStart=podman {command}\n");
        let same = |one: &str, other: &str| is_same_service(&service(one), &service(other));
        assert!(same("run a", "run a"));
        assert!(same(
            "volume create --label a=1 --label \"b=2 --label c\" d",
            "volume create --label \"b=2 --label c\" --label a=1 d"
        ));
        assert!(!same("run --label a=1 b c", "run --label a=1 c b"));
        assert!(!same("run --label a=1 b", "run --label a=2 b"));
        assert!(!same("run --label a=1 b", "run --annotation a=1 b"));
        assert!(!same("run --label a=1", "run"));
        assert!(!is_same_service("a\n", "a\nb\n"));
    }
}
