//! The words of `ping`, those of iputils as far as they go.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::os::icmp::Fragmentation;

/// `ping`.
#[derive(Clone, Debug, Args)]
#[command(
    disable_version_flag = true,
    after_help = "The exit status is 0 if an answer came, 1 if none did, 2 if it could not be tried.\n\n\
                  Example:\n  ipoib exec h1 -- ping -c 3 -s 2016 -M do h2"
)]
pub struct PingArgs {
    /// Send so many questions, then end
    #[arg(short = 'c', value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Seconds between questions
    #[arg(short = 'i', value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub interval: Duration,
    /// Octets of data in a question
    #[arg(short = 's', value_name = "SIZE", default_value_t = 56, value_parser = clap::value_parser!(u16).range(0..=65507))]
    pub size: u16,
    /// Seconds to wait for an answer after the last question
    #[arg(short = 'W', value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub wait: Duration,
    /// End after so many seconds in any case
    #[arg(short = 'w', value_name = "SECONDS", value_parser = seconds)]
    pub deadline: Option<Duration>,
    /// What happens to questions that are longer than the path takes
    #[arg(short = 'M', value_name = "HINT", value_enum)]
    pub fragmentation: Option<Hint>,
    /// Print only the first line and the summary
    #[arg(short = 'q')]
    pub quiet: bool,
    /// Never look up names; it is so in any case
    #[arg(short = 'n', hide = true)]
    pub numeric: bool,
    /// Use IPv4
    #[arg(short = '4', conflicts_with = "v6")]
    pub v4: bool,
    /// Use IPv6
    #[arg(short = '6')]
    pub v6: bool,
    /// Interface to send by, or address to send from
    #[arg(short = 'I', value_name = "INTERFACE")]
    pub from: Option<String>,
    /// Whom to ask: a name or an address
    #[arg(value_name = "HOST")]
    pub host: String,
}

/// `-M`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Hint {
    /// Do not send them
    Do,
    /// Fragment them here
    Want,
    /// Fragment them anywhere
    Dont,
    /// Send them whole
    Probe,
}

impl From<Hint> for Fragmentation {
    fn from(hint: Hint) -> Self {
        match hint {
            Hint::Do => Self::Never,
            Hint::Want => Self::Here,
            Hint::Dont => Self::Anywhere,
            Hint::Probe => Self::Probe,
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "write a number of seconds, such as 0.2".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "write a number of seconds from 0 on".to_owned())
}
