//! Bursts of UDP datagrams, which a host may get as one large send.

use crate::harness::{Lab, PATIENCE, require};

const DATAGRAMS: &str = include_str!("datagrams.py");

#[test]
fn a_burst_of_datagrams_arrives_one_by_one_or_together_as_the_program_wants() {
    require(&[("python3", "python3")]);
    let lab = Lab::start(&["--topology", "pair"]);
    for address in ["10.77.0.4", "fd77::4"] {
        assert!(lab.pings("h1", address));
        for how in ["single", "large"] {
            let mut receiver = lab.python("h4", DATAGRAMS, &["receive", how]);
            receiver.wait_for("listening", PATIENCE);
            lab.python("h1", DATAGRAMS, &["send", address, &lab.id().to_string()]).finish(PATIENCE).ok();
            let said = receiver.finish(PATIENCE).ok();
            let most = said.split_whitespace().last().and_then(|most| most.parse().ok());
            // In one call came what one write gave the host.
            let expected = if how == "large" { 5 * 1400 + 30 } else { 1400 };
            assert_eq!(most, Some(expected), "{address} {how}: {said}");
        }
    }
}
