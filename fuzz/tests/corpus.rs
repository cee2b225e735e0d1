//! The corpus through every target, by any compiler and without libFuzzer.

use std::{fs, path::Path};

#[test]
fn nothing_in_the_corpus_breaks_its_target() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (target, check) in ipoib_fuzz::TARGETS {
        let mut files: Vec<_> = fs::read_dir(corpus.join(target))
            .unwrap_or_else(|error| panic!("{target} has no corpus: {error}"))
            .map(|entry| entry.expect("a directory that was opened can be listed").path())
            .collect();
        files.sort();
        assert!(!files.is_empty(), "the corpus of {target} is empty");
        for file in files {
            let bytes = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            // Shown only if what follows fails.
            println!("{}", file.display());
            check(&bytes);
        }
    }
}

#[test]
fn every_target_has_a_program_of_its_name() {
    let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
    let mut programs: Vec<String> = fs::read_dir(targets)
        .expect("it is part of the package")
        .map(|entry| entry.expect("a directory that was opened can be listed").path())
        .map(|path| path.file_stem().expect("a file has a name").to_string_lossy().into_owned())
        .collect();
    programs.sort();
    assert_eq!(programs, ipoib_fuzz::TARGETS.map(|(name, _)| name));
}
