//! Everybody sends to one as fast as it can.

use crate::harness::{Lab, PATIENCE, require, resident};

/// Small datagrams to nobody's port, four seconds long.
const FLOOD: &str = "
import socket, sys, time
flood = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
flood.connect((sys.argv[1], 9))
print('flooding')
end = time.monotonic() + 4
while time.monotonic() < end:
    try:
        for _ in range(100):
            flood.send(bytes(64))
    except ConnectionRefusedError:
        pass
";

#[test]
fn a_flooded_host_still_talks_to_others_and_the_lab_does_not_grow() {
    require(&[("python3", "python3"), ("ping", "iputils-ping")]);
    let lab = Lab::start(&["--topology", "star:5"]);
    let mut memory = Vec::new();
    for _ in 0..2 {
        let mut floods = ["h1", "h2", "h3"].map(|host| lab.python(host, FLOOD, &["h4"]));
        floods.iter_mut().for_each(|flood| flood.wait_for("flooding", PATIENCE));
        // To one that does not flood: the queues of the others are full of what they send.
        let said = lab.sh("h4", "ping -q -c 20 -i 0.1 -W 2 h5 || true");
        let loss = said.split(", ").find_map(|part| part.strip_suffix("% packet loss"));
        let loss: f64 = loss.and_then(|loss| loss.parse().ok()).unwrap_or_else(|| panic!("no loss: {said}"));
        assert!(loss <= 50.0, "{said}");
        for flood in floods {
            flood.finish(PATIENCE);
        }
        memory.push(resident(lab.id()));
    }
    let (first, second) = (memory[0], memory[1]);
    assert!(second < first + 2048, "KiB after the first flood and the second: {memory:?}");
}
