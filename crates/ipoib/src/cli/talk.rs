//! Talk, on stderr: the log of a lab.

use std::{
    env,
    io::{self, IsTerminal},
};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Begins to log: warnings, with `-v` the story, with `-vv` control packets, with `-vvv` every packet.
/// `IPOIB_LOG`, such as `ib_sm=debug,info`, says it in detail.
pub(super) fn begin(verbosity: u8) {
    let level = match verbosity {
        0 => LevelFilter::ERROR,
        1 => LevelFilter::WARN,
        2 => LevelFilter::INFO,
        3 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let default = Targets::new().with_default(level);
    let targets = match env::var("IPOIB_LOG").map(|text| text.parse::<Targets>()) {
        Ok(Ok(targets)) => targets,
        Ok(Err(error)) => {
            eprintln!("ipoib: IPOIB_LOG: {error}: write for example ib_sm=debug,info");
            default
        }
        Err(_) => default,
    };
    let colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let lines =
        fmt::layer().with_writer(io::stderr).with_ansi(colours).with_target(verbosity > 2).without_time();
    // There is one already if a test or another program began before us.
    let _ = tracing_subscriber::registry().with(lines).with(targets).try_init();
}
