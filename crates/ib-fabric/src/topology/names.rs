//! Names for the nodes of files that have only descriptions.
//!
//! A name is the first word of the description: `h1 mlx5_0` gives `h1`. In the form of managed switches,
//! `MF0;leaf7:MSB7800/U1`, it is what stands before the colon; for the boards of a modular one,
//! `MF0;dir1:CS7520/L01/U1`, board and chip are added: `dir1-L01-U1`. An empty description gives way to the
//! file's own identifier. Characters that a shell or a host name could not take become `-`, and the second node
//! of a name gets `-2`, the third `-3`, in file order.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
};

use super::check::is_good_name;

/// The names given so far.
#[derive(Default)]
pub(super) struct Names {
    taken: BTreeSet<String>,
    /// The number the next node of a name gets.
    next: BTreeMap<String, usize>,
}

impl Names {
    /// A name nobody has, for a node with that description and identifier.
    pub(super) fn name(&mut self, description: &str, id: &str) -> String {
        let stem = [stem(description), clean(id)].into_iter().find(|name| is_good_name(name));
        let stem = stem.unwrap_or_else(|| "node".into());
        let next = self.next.entry(stem.clone()).or_insert(1);
        loop {
            let name = if *next == 1 { stem.clone() } else { format!("{stem}-{next}") };
            *next += 1;
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }
}

fn stem(description: &str) -> String {
    let managed = description.split_once(';').and_then(|(_, rest)| rest.split_once(':'));
    if let Some((name, model)) = managed {
        let mut places = model.split_whitespace().next().unwrap_or("").split('/').skip(1);
        return match (places.next(), places.next()) {
            (Some(board), Some(chip)) => clean(&format!("{name}-{board}-{chip}")),
            _ => clean(name),
        };
    }
    clean(description.trim_matches('\'').split_whitespace().next().unwrap_or(""))
}

/// `text` with `-` for what a name cannot hold, 50 characters at most to leave room for a number.
fn clean(text: &str) -> String {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
    let clean: String = text.chars().map(|c| if good(c) { c } else { '-' }).collect();
    clean
        .trim_start_matches(['-', '.', '_'])
        .chars()
        .take(50)
        .collect::<String>()
        .trim_end_matches('-')
        .into()
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn names_come_from_descriptions() {
        let mut names = Names::default();
        let given: Vec<String> = [
            "h1 mlx5_0",
            "h1 mlx5_1",
            "h1-2 mlx5_0",
            "MF0;leaf7:MSB7800/U1",
            "MF0;dir1:CS7520/L01/U1",
            "",
            "';rm -rf /' x",
            "Quantum Mellanox Technologies",
            "\u{1f600}",
            "--a--",
        ]
        .iter()
        .map(|description| names.name(description, "H-0002c9030005f34e"))
        .collect();
        assert_eq!(
            given,
            [
                "h1",
                "h1-2",
                "h1-2-2",
                "leaf7",
                "dir1-L01-U1",
                "H-0002c9030005f34e",
                "rm",
                "Quantum",
                "H-0002c9030005f34e-2",
                "a",
            ]
        );
        assert_eq!(names.name("", "\u{1f600}"), "node");
    }
}
