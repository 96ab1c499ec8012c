//! Commands of xlr that stop at a point of their work, to be killed there, or sent a signal.

use crate::dom0::host::{Said, Stop, Verdict, run};
use crate::dom0::init;
use crate::fail;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::io::Read as _;
use std::process::{Child, Stdio};

/// A command of xlr that has stopped itself.
pub struct Stopped(Child);

/// Starts one, and waits until it has stopped.
pub fn stopped(args: &[&str]) -> Result<Stopped, Stop> {
    let mut command = init::command("/bin/xlr");
    command.args(args).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn()?;
    let pid = Pid::from_child(&child);
    let status = waitpid(Some(pid), WaitOptions::UNTRACED).map_err(std::io::Error::from)?;
    match status {
        Some((_, status)) if status.stopped() => Ok(Stopped(child)),
        status => fail!("xlr {args:?} did not stop: {status:?}"),
    }
}

impl Stopped {
    /// Kills it where it stands.
    pub fn kill(mut self) -> Verdict {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Verdict {
        let sent = kill_process(Pid::from_child(&self.0), signal);
        Ok(sent.map_err(std::io::Error::from)?)
    }

    /// Lets it go on to its end.
    pub fn resume(mut self) -> Result<Said, Stop> {
        self.signal(Signal::CONT)?;
        let mut err = String::new();
        if let Some(mut pipe) = self.0.stderr.take() {
            pipe.read_to_string(&mut err)?;
        }
        let code = self.0.wait()?.code().unwrap_or(255);
        eprintln!("{err}[{code}]");
        Ok(Said { command: String::from("xlr"), code, out: String::new(), err })
    }
}

/// The number of a step of the plan, by its name.
pub fn step(path: &str, name: &str) -> Result<String, Stop> {
    match steps(path)?.iter().position(|step| step == name) {
        Some(index) => Ok(index.to_string()),
        None => fail!("the plan has no step {name}"),
    }
}

/// The steps of the plan, by name.
pub fn steps(path: &str) -> Result<Vec<String>, Stop> {
    let plan = run(&format!("/bin/xlr create --dry-run=json {path}"))?.success()?;
    let plan: serde_json::Value = serde_json::from_str(&plan.out)?;
    let Some(steps) = plan["steps"].as_array() else { fail!("the plan has no steps: {plan}") };
    Ok(steps.iter().map(|step| step["step"].as_str().unwrap_or_default().to_owned()).collect())
}
