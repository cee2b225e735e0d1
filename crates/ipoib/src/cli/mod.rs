//! The command line: arguments as typed, the plan they come to, and the verbs.
//!
//! stdout is the result, stderr the talk. Exit status 0 is yes, 1 no, 2 could not.

mod args;
pub(crate) mod complaint;
mod config;
mod docs;
mod exec;
pub(crate) mod output;
mod plan;
mod render;
mod talk;
mod target;
mod up;
mod verbs;
mod verify;

use std::{ffi::OsStr, path::Path, process::ExitCode};

use anyhow::Result;
use clap::Parser;

use self::args::{Args, FabricVerb, FaultVerb, SmVerb, Verb};
pub use self::plan::{AttachPlan, FileText, LabPlan, Shape, SmChoice};
use crate::{
    os::userns::{self, Privilege},
    ping,
    up::UpPlan,
};

/// Runs the program: parses, then does what the verb says. `lab` is what brings a lab up.
///
/// To be called while the process has one thread.
pub fn main(lab: impl FnOnce(LabPlan, Privilege) -> Result<ExitCode>) -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    if Path::new(&called).file_name() == Some(OsStr::new("ping")) {
        return ping::main(None);
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return complaint::of_words(&error),
    };
    match run(args.verb, lab) {
        Ok(code) => code,
        Err(error) => complaint::of(&error),
    }
}

fn run(verb: Verb, lab: impl FnOnce(LabPlan, Privilege) -> Result<ExitCode>) -> Result<ExitCode> {
    match verb {
        Verb::Lab(args) => bring_up(LabPlan::new(args)?, lab),
        Verb::Fabric(FabricVerb::Run(args)) => bring_up(LabPlan::of_fabric(*args)?, lab),
        Verb::Up(args) => {
            let plan = UpPlan::new(args)?;
            talk::begin(plan.verbosity);
            crate::up::run(plan)
        }
        Verb::Fabric(FabricVerb::Bind(args)) => verbs::bind(&args),
        Verb::Fabric(FabricVerb::Unbind { target, port }) => verbs::unbind(&target, &port),
        Verb::Exec(args) => exec::run(&args),
        Verb::Show(args) => verbs::show(args),
        Verb::Fault(FaultVerb::Link(args)) => verbs::fault_link(&args),
        Verb::Fault(FaultVerb::Host(args)) => verbs::fault_host(&args),
        Verb::Fault(FaultVerb::Sm(args)) => verbs::fault_sm(args),
        Verb::Fault(FaultVerb::Inject(args)) => verbs::inject(&args),
        Verb::Capture(args) => verbs::capture(args),
        Verb::Sm(SmVerb::Sweep { target }) => verbs::sweep(&target),
        Verb::Sm(SmVerb::Start { target, node, priority }) => verbs::start_sm(&target, node, priority),
        Verb::Sm(SmVerb::Kill { target, node }) => verbs::kill_sm(&target, node),
        Verb::List(args) => verbs::list(&args),
        Verb::Stop(args) => verbs::stop(&args),
        Verb::Verify(args) => crate::verify::run(&args.into()),
        Verb::Ping(args) => Ok(ping::main(Some(args))),
        Verb::Completions(args) => docs::completions(&args),
        Verb::Man(args) => docs::man(&args),
    }
}

fn bring_up(plan: LabPlan, lab: impl FnOnce(LabPlan, Privilege) -> Result<ExitCode>) -> Result<ExitCode> {
    talk::begin(plan.verbosity);
    // Before any thread exists.
    let privilege = userns::enter_if_needed()?;
    lab(plan, privilege)
}
