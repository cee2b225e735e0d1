//! What belongs to the fabric and its managers.

use serde_json::Value;

use super::{ABSENT, Lines, lid, number, plain, rows as list, stacked, text};

/// Cables, their state and faults.
pub(super) fn links(rows: &[Value]) -> Option<String> {
    let headings = ["A", "B", "STATE", "SPEED", "MTU>", "A TO B>", "B TO A>", "ERRORS>", "FAULTS"];
    let mut lines = Lines::new(&headings);
    for row in rows {
        lines.add([
            text(row, "a"),
            text(row, "b"),
            text(row, "state"),
            format!("{} {}", text(row, "width"), text(row, "speed")),
            text(row, "mtu"),
            text(row, "packets_from_a"),
            text(row, "packets_from_b"),
            (number(row, "errors_at_a") + number(row, "errors_at_b")).to_string(),
            faults(row),
        ]);
    }
    lines.print()
}

/// What was done to a link, and what ails one that leads out of the fabric.
fn faults(row: &Value) -> String {
    let (faults, udp) = (&row["faults"], &row["udp"]);
    let mut words = Vec::new();
    if udp["up"].as_bool() == Some(false) {
        words.push(match udp["heard_ms"].as_u64() {
            None if number(udp, "refused") > 0 => "nobody listens there".to_owned(),
            None => "never heard of".to_owned(),
            Some(ms) => format!("silent for {} s", ms / 1000),
        });
    }
    if faults["down"].as_bool() == Some(true) {
        words.push("down".to_owned());
    }
    for name in ["loss", "mad_loss", "delay", "corrupt", "duplicate", "reorder"] {
        if !faults[name].is_null() {
            words.push(format!("{} {}", name.replace('_', "-"), text(faults, name)));
        }
    }
    if words.is_empty() { ABSENT.into() } else { words.join(", ") }
}

/// Multicast groups and their members.
pub(super) fn groups(rows: &[Value]) -> Option<String> {
    let mut lines = Lines::new(&["GROUP", "MGID", "MLID", "P_KEY", "MTU>", "GB/S>", "MEMBERS"]);
    for row in rows {
        let members: Vec<String> = list(row, "members").iter().map(member).collect();
        lines.add([
            text(row, "ip"),
            text(row, "mgid"),
            text(row, "mlid"),
            text(row, "pkey"),
            text(row, "mtu"),
            text(row, "rate"),
            if members.is_empty() { ABSENT.into() } else { members.join(" ") },
        ]);
    }
    lines.print()
}

/// A member's name, and how it joined if that is not in full.
fn member(member: &Value) -> String {
    match text(member, "join").as_str() {
        "full" | ABSENT => text(member, "port"),
        join => format!("{}({join})", text(member, "port")),
    }
}

/// Forwarding tables of the switches.
pub(super) fn routes(rows: &[Value]) -> Option<String> {
    let mut lines = Lines::new(&["SWITCH", "LID>", "PORTS", "TO"]);
    for row in rows {
        let ports: Vec<String> = list(row, "ports").iter().map(plain).collect();
        let ports = if ports.is_empty() { ABSENT.into() } else { ports.join(" ") };
        lines.add([text(row, "switch"), lid(row), ports, text(row, "to")]);
    }
    lines.print()
}

/// Everything that is counted; drops after the rest of each part.
pub(super) fn counters(rows: &[Value], all: bool) -> Option<String> {
    let mut lines = Lines::new(&["NODE", "PART", "COUNTER", "VALUE>"]);
    for row in rows {
        for (kind, prefix) in [("counters", ""), ("drops", "drop: ")] {
            let Some(counted) = row[kind].as_object() else { continue };
            for (name, value) in counted.iter().filter(|(_, value)| all || value.as_u64() != Some(0)) {
                lines.add([text(row, "node"), text(row, "part"), format!("{prefix}{name}"), plain(value)]);
            }
        }
    }
    lines.print()
}

/// Subnet managers.
pub(super) fn managers(rows: &[Value]) -> Option<String> {
    let headings = ["SM=", "ROLE", "LID>", "SWEEPS>", "LAST SWEEP", "MADS=", "SUBNET="];
    let mut lines = Lines::new(&headings);
    for row in rows {
        if row["kind"] == "program" {
            lines.add([
                format!("{}\n{}", text(row, "node"), text(row, "guid")),
                format!("{}\na program", text(row, "role")),
                lid(row),
                ABSENT.into(),
                ABSENT.into(),
                ABSENT.into(),
                ABSENT.into(),
            ]);
            continue;
        }
        let lost = number(row, "mads_timed_out");
        let lost = if lost == 0 { String::new() } else { format!("\n{lost} lost") };
        let of_subnet =
            ["nodes", "links", "lids", "groups"].map(|name| format!("{} {name}", text(row, name)));
        lines.add([
            format!("{}\n{}", text(row, "node"), text(row, "guid")),
            format!("{}\npriority {}{}", text(row, "role"), text(row, "priority"), answers(row)),
            lid(row),
            text(row, "sweeps"),
            last_sweep(row),
            format!("{} sent\n{} received{lost}", text(row, "mads_sent"), text(row, "mads_received")),
            of_subnet.join("\n").replace("lids", "LIDs"),
        ]);
    }
    lines.print()
}

/// How its administration answers, if not as it should.
fn answers(row: &Value) -> String {
    match row["answers"].as_str() {
        None | Some("promptly") => String::new(),
        Some(manner) => format!("\nanswers {}", manner.replace('_', " ")),
    }
}

fn last_sweep(row: &Value) -> String {
    let time = row["last_sweep_us"].as_u64().map(|us| match us {
        0..1000 => format!("{us} us"),
        us => format!("{}.{} ms", us / 1000, us % 1000 / 100),
    });
    let mads = row["last_sweep_mads"].as_u64().map(|mads| format!("{mads} MADs"));
    stacked([mads.unwrap_or_default(), time.unwrap_or_default()])
}
