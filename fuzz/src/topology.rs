//! Topologies as files: our own TOML, ibsim's net files, what `ibnetdiscover` prints; generators; quantities.

use ib_fabric::topology::{
    Node, Probability, Topology, TopologyErrors, format_duration, generate, parse, parse_duration,
    parse_ibnet, parse_speed, parse_toml, parse_width, to_ibnetdiscover, to_toml,
};

/// Reads `bytes` as every text there is; what can be read must survive being written.
pub fn check(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    for read in [parse, parse_toml, parse_ibnet] {
        match read("file", text) {
            Ok(topology) => survives(&topology),
            Err(errors) => complains(&errors, text),
        }
    }
    if is_small(text)
        && let Ok(topology) = generate(text)
    {
        survives(&topology);
    }
    quantity(text);
}

fn survives(topology: &Topology) {
    if let Err(errors) = topology.validate() {
        panic!("what a reader accepts is valid: {errors}");
    }
    let toml = to_toml(topology);
    for read in [parse, parse_toml] {
        match read("again", &toml) {
            Ok(again) => assert_eq!(again, *topology, "{toml}"),
            Err(errors) => panic!("{errors}\n{toml}"),
        }
    }
    // The net form has no place for some things; what it keeps, it keeps for good.
    let net = to_ibnetdiscover(topology);
    let kept = parse("net", &net).unwrap_or_else(|errors| panic!("{errors}\n{net}"));
    assert_eq!(kept.counts(), topology.counts());
    for (a, b) in kept.nodes.iter().zip(&topology.nodes) {
        let same =
            |node: &Node| (node.guid, node.system_guid, node.vendor_id, node.device_id, node.port_count);
        assert_eq!(same(a), same(b), "{net}");
    }
    let ends =
        |topology: &Topology| topology.links.iter().map(|l| (l.a, l.b, l.width, l.speed)).collect::<Vec<_>>();
    assert_eq!(ends(&kept), ends(topology), "{net}");
    let net = to_ibnetdiscover(&kept);
    assert_eq!(parse_ibnet("net", &net).as_ref(), Ok(&kept), "{net}");
}

fn complains(errors: &TopologyErrors, text: &str) {
    assert!(!errors.errors.is_empty() && errors.errors.len() <= TopologyErrors::CAP);
    let lines = text.lines().count().max(1);
    for error in &errors.errors {
        assert!(error.line <= lines + 1, "line {} of {lines}: {error}", error.line);
    }
}

/// True if no number in the text asks a generator for more than a few nodes.
fn is_small(text: &str) -> bool {
    text.len() < 64 && text.split(|c: char| !c.is_ascii_digit()).all(|number| number.len() < 2)
}

/// Nanoseconds in `text` by long multiplication; none if they are no whole number.
fn exact(text: &str) -> Option<u128> {
    const UNITS: [(&str, u128); 5] =
        [("ns", 1), ("us", 1000), ("µs", 1000), ("ms", 1_000_000), ("s", 1_000_000_000)];
    let text = text.trim();
    let (number, scale) = UNITS
        .iter()
        .find_map(|(unit, scale)| Some((text.strip_suffix(unit)?.trim_end(), *scale)))
        .unwrap_or((text, 1));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = fraction.trim_end_matches('0');
    let parts = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?).filter(|_| fraction.len() <= 20)?;
    let fraction = if fraction.is_empty() { 0 } else { fraction.parse::<u128>().ok()? };
    let scaled = fraction * scale;
    (scaled % parts == 0).then_some(whole.parse::<u128>().ok()? * scale + scaled / parts)
}

fn quantity(text: &str) {
    if let Ok(time) = parse_duration(text) {
        assert_eq!(parse_duration(&format_duration(time)), Ok(time), "{text}");
        assert_eq!(exact(text), Some(time.as_nanos()), "{text}");
    }
    if let Ok(share) = text.parse::<Probability>() {
        assert_eq!(share.to_string().parse(), Ok(share), "{text}");
    }
    let _ = parse_speed(text).map(|speed| assert_eq!(parse_speed(&speed.to_string()), Ok(speed)));
    let _ = parse_width(text).map(|width| assert!(width.lanes().is_some()));
}
