//! backupctl brings database backups back to life: proven first, then live all at once.
//!
//! Commands (`commands/`, one file each) connect mechanisms; mechanisms (`store`, `database`, `notify`, `archive`, `network`) don't
//! know each other; everybody may use the foundations: `account`, `config`, `secret`, `report`, `run`, `verdict`, `journal`, `lock`, `state_dir`,
//! `process`, `durable`, `escape`, `log`, `metrics`, `output`. A test reads the `use crate::` lines and holds that true.

pub mod account;
pub mod archive;
pub mod cli;
pub mod commands;
pub mod config;
pub mod database;
pub mod durable;
pub mod escape;
pub mod journal;
pub mod lock;
pub mod log;
pub mod metrics;
pub mod network;
pub mod notify;
pub mod output;
pub mod process;
pub mod report;
pub mod run;
pub mod secret;
pub mod state_dir;
pub mod store;
pub mod verdict;

use std::ffi::OsString;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use clap::FromArgMatches;
use futures::FutureExt;
use tokio::signal::unix::{SignalKind, signal};

use cli::{Cli, Command, Vault};
use commands::{App, Signals};
use config::Restore;
use output::Output;
use report::Record;
use verdict::{Judge, Outcome, Signal, Verdict};

/// Runs the command line `arguments` and returns the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    // Whatever is created is for this user only, also what a library creates.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    process::keep_memory_private();
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if let Some(code) = cli::completion::answer(cli::command, &arguments) {
        return code;
    }
    let parsed = cli::command().try_get_matches_from(&arguments);
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            let error = cli::help::with_suggestion(error, &cli::command());
            return output::unparsed(&error, arguments.iter().any(|a| a == "--json"));
        }
    };
    let output = Output::new(&cli.global);
    // Where it happened belongs into the run's log, and no text past the scrubber.
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!("{}", escape::said(&panic.to_string()));
    }));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let verdict = match runtime.judge(Verdict::Local, "start the asynchronous runtime") {
        Ok(runtime) => {
            let work = AssertUnwindSafe(dispatch(cli, &output)).catch_unwind();
            let verdict = runtime.block_on(work);
            // A blocking read that nobody waits for any more must not hold up the exit.
            runtime.shutdown_background();
            verdict.unwrap_or_else(|panic| Err(commands::bug(&*panic)))
        }
        Err(failed) => Err(failed),
    };
    verdict
        .unwrap_or_else(|failed| output.refuse(&failed))
        .exit_code()
}

/// Does the command and prints its result. An error is one that came before any job began.
async fn dispatch(cli: Cli, output: &Output) -> Outcome<Verdict> {
    let Cli { global, command } = cli;
    match command {
        Command::Completions { shell } => {
            let script = cli::completion::script(shell, &mut cli::command());
            output.result(&script.judge(Verdict::Bug, "write the script")?);
            return Ok(Verdict::Done);
        }
        Command::Vault(Vault::NewKey { file }) => {
            if global.dry_run {
                commands::vault::would_make_key(&file)?;
            } else {
                commands::vault::new_key(&file)?;
            }
            let path = file.display().to_string();
            output.facts(&path, &[("path", &path)]);
            return Ok(Verdict::Done);
        }
        Command::Check(ref check) if check.as_cron => {
            commands::check::become_cron(&global, check, output).await?;
        }
        _ => {}
    }
    let signals = listen().judge(Verdict::Local, "listen for signals")?;
    match command {
        Command::Init(flags) => begin(global, &flags, output, signals).await,
        command => with_configuration(global, command, output, signals).await,
    }
}

/// The first configuration is written, and then checked like any other.
async fn begin(
    mut global: cli::Global,
    flags: &cli::Init,
    output: &Output,
    signals: Signals,
) -> Outcome<Verdict> {
    let environment = config::environment();
    let scene = commands::init::Scene {
        options: &global,
        output,
        signals: &signals,
        environment: &environment,
    };
    let written = commands::init::command(scene, flags).await;
    let Some(file) = written.map_err(|failed| signals.named(failed))? else {
        return Ok(Verdict::Done);
    };
    global.config = Some(file.clone());
    let check = Command::Check(cli::Check::default());
    let verdict = with_configuration(global, check, output, signals).await?;
    commands::init::farewell(output, &file, verdict);
    Ok(verdict)
}

async fn with_configuration(
    global: cli::Global,
    command: Command,
    output: &Output,
    signals: Signals,
) -> Outcome<Verdict> {
    let environment = config::environment();
    let mut config = match configuration(&global, &command, &environment) {
        Err(failed) if matches!(command, Command::Check(_)) => {
            return Ok(commands::check::unread(output, &failed));
        }
        read => read?,
    };
    secret::fill_in_users(&mut config);
    // By root for somebody else: the log would belong to root, and that user's runs could not write it.
    let is_for_others = matches!(command, Command::Schedule(_));
    let log = Some(&config.log).filter(|_| !is_for_others);
    let (run_log, warnings) = log::start(log, &global, output);
    for warning in warnings {
        output.say(&format!("warning: {warning}"));
    }
    let app = App {
        config,
        options: global,
        output: output.clone(),
        run_log,
        signals,
    };
    let verdict = configured(&app, command).await;
    verdict.map_err(|failed| app.signals.named(failed))
}

fn configuration(
    global: &cli::Global,
    command: &Command,
    environment: &config::Environment,
) -> Outcome<config::Config> {
    let named = global.config.as_deref();
    let is_first_token = matches!(command, Command::Vault(Vault::Encrypt));
    if is_first_token && config::is_absent(named, environment) {
        // The first token is made before there is a configuration, with the key of `$SECRET_KEY`.
        return config::parse(Path::new("/"), "", environment);
    }
    config::load(named, environment)
}

/// The commands that need the configuration.
async fn configured(app: &App, command: Command) -> Outcome<Verdict> {
    match command {
        Command::Run { jobs, which } => {
            let restores = commands::jobs(&app.config, &jobs)?;
            let run = async |restore| commands::run::command(app, restore, &which).await;
            Ok(in_turn(app, &restores, run).await)
        }
        Command::List(one) => {
            let restore = commands::job(&app.config, one.job.as_deref())?;
            let (record, rows) = commands::list::command(app, restore).await;
            Ok(app
                .output
                .listed(&record, &rows, || commands::list::text(&rows, restore)))
        }
        Command::Fetch { job, which, tell } => {
            let restore = commands::job(&app.config, job.job.as_deref())?;
            Ok(told(
                app,
                &commands::fetch::command(app, restore, &which, tell.notify).await,
            ))
        }
        Command::Unzip { job, file, tell } => {
            let restore = commands::job(&app.config, job.job.as_deref())?;
            Ok(told(
                app,
                &commands::unzip::command(app, restore, file.as_deref(), tell.notify).await,
            ))
        }
        Command::Drill { jobs, all, which } => drill(app, (&jobs, all), &which).await,
        command @ Command::Restore { .. } => restored(app, command).await,
        command @ (Command::Swap { .. } | Command::Undo { .. }) => confirmed(app, command).await,
        Command::Notify { job, test } => {
            commands::notify::command(app, job.job.as_deref(), test).await
        }
        Command::Report { jobs, history } => commands::report::command(app, &jobs, &history).await,
        Command::Status { jobs, max_age } => status(app, &jobs, max_age).await,
        Command::Check(check) => commands::check::command(app, &check).await,
        Command::Trust { store, yes } => commands::trust::command(app, &store, yes)
            .await
            .map(|()| Verdict::Done),
        Command::Schedule(flags) => commands::schedule::command(app, &flags).await,
        Command::Vault(Vault::Encrypt) => encrypt(app).await,
        Command::Vault(vault) => commands::vault::manage::command(app, vault).await,
        Command::Completions { .. } | Command::Init(_) => Ok(Verdict::Done),
    }
}

/// A dump goes live, or beside the live database, or what is beside it goes.
async fn restored(app: &App, command: Command) -> Outcome<Verdict> {
    let Command::Restore {
        job,
        file,
        beside,
        tell,
    } = command
    else {
        return Ok(Verdict::Done);
    };
    let restore = commands::job(&app.config, job.job.as_deref())?;
    let (file, notify) = (file.as_deref(), tell.notify);
    let record = if let Some(name) = &beside.drop {
        commands::beside::drop::command(app, restore, (name, beside.yes), notify).await?
    } else if let Some(name) = &beside.name {
        let wish = commands::beside::Wish::of(name, &beside, file)?;
        commands::beside::load(app, restore, wish, notify).await?
    } else {
        commands::restore::command(app, restore, file, notify).await
    };
    Ok(told(app, &record))
}

/// The commands that ask first.
async fn confirmed(app: &App, command: Command) -> Outcome<Verdict> {
    let (Command::Swap { job, yes, tell } | Command::Undo { job, yes, tell }) = &command else {
        return Ok(Verdict::Done);
    };
    let restore = commands::job(&app.config, job.job.as_deref())?;
    let record = match command {
        Command::Swap { .. } => commands::swap::command(app, restore, *yes, tell.notify).await?,
        _ => commands::undo::command(app, restore, *yes, tell.notify).await?,
    };
    Ok(told(app, &record))
}

/// Every job in turn; one job's failure doesn't stop the next, a signal does.
async fn in_turn<'a>(
    app: &App,
    restores: &[&'a Restore],
    act: impl AsyncFn(&'a Restore) -> Record,
) -> Verdict {
    let mut worst = Verdict::Done;
    for (begun, restore) in restores.iter().enumerate() {
        // The first one is begun all the same: it says, and reports, that a signal ended it.
        if let (1.., Some(signal)) = (begun, app.signals.which.get()) {
            app.output
                .say(&format!("job {} was not begun", restore.name));
            worst = worst.worst(Verdict::Interrupted(*signal));
            continue;
        }
        worst = worst.worst(told(app, &act(restore).await));
    }
    worst
}

async fn drill(app: &App, (named, all): (&[String], bool), which: &cli::Which) -> Outcome<Verdict> {
    let restores = if all || !named.is_empty() {
        commands::jobs(&app.config, named)?
    } else {
        vec![commands::job(&app.config, None)?]
    };
    let drill = async |restore| commands::drill::command(app, restore, which).await;
    Ok(in_turn(app, &restores, drill).await)
}

/// Every job's state in turn; one that can't be read doesn't hide the others.
async fn status(app: &App, named: &[String], max_age: Option<Duration>) -> Outcome<Verdict> {
    let mut worst = Verdict::Done;
    for restore in commands::jobs(&app.config, named)? {
        let verdict = match commands::status::command(app, restore, max_age).await {
            Ok(state) => app.output.state(
                &state,
                || commands::status::text(&state),
                state.failure().as_ref(),
            ),
            Err(failed) => app.output.refuse(&failed),
        };
        worst = worst.worst(verdict);
    }
    Ok(worst)
}

async fn encrypt(app: &App) -> Outcome<Verdict> {
    let stop = &app.signals.stop;
    let secret = app.output.ask_secret("Secret: ", stop).await?;
    let token = commands::vault::encrypt(&app.config.secrets, secret)?;
    app.output.facts(&token, &[("token", &token)]);
    Ok(Verdict::Done)
}

/// Prints a job's result and says how it ended.
fn told(app: &App, record: &Record) -> Verdict {
    app.output
        .record(record, &commands::notify::text(app, record));
    record.verdict.unwrap_or(Verdict::Bug)
}

/// From now on the first SIGINT or SIGTERM asks the run to end in order, and the second one not to wait for anything more.
fn listen() -> std::io::Result<Signals> {
    let signals = Signals::default();
    // Heard and so no end: a file that may not grow (RLIMIT_FSIZE) is an error of the write, told like a full disk.
    let file_size = rustix::process::Signal::XFSZ.as_raw();
    drop(signal(SignalKind::from_raw(file_size))?);
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    let heard = signals.clone();
    tokio::spawn(async move {
        for token in [&heard.stop, &heard.at_once] {
            let which = tokio::select! {
                _ = interrupt.recv() => Signal::Interrupt,
                _ = terminate.recv() => Signal::Terminate,
            };
            // Only the first one names the verdict.
            let _ = heard.which.set(which);
            token.cancel();
        }
    });
    Ok(signals)
}
