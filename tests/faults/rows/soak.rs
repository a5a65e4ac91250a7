//! F46: random faults under load, from a seed, so that a run that fails can be had again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::deed::{Act, Deed};
use rand::{Rng, seq::IndexedRandom};
use rustix::process::Signal;
use tokio::time::sleep;

use crate::{
    ledger::Promise,
    load::{Load, ask_again},
    process::{Process, Program},
    proxy::{Network, Proxy},
    system::System,
};

#[derive(Debug, Clone, Copy)]
enum Blow {
    KillWorker,
    FreezeWorker,
    KillScheduler,
    KillApi,
    FlushRedis,
    KillRedis,
    HangRedis,
    RestartPostgres,
    KillPostgres,
    CutWorkerOff,
}

const BLOWS: [Blow; 10] = [
    Blow::KillWorker,
    Blow::FreezeWorker,
    Blow::KillScheduler,
    Blow::KillApi,
    Blow::FlushRedis,
    Blow::KillRedis,
    Blow::HangRedis,
    Blow::RestartPostgres,
    Blow::KillPostgres,
    Blow::CutWorkerOff,
];

/// What runs, and how it is started again.
struct Fleet {
    programs: [Program; 2],
    workers: [Process; 2],
    schedulers: [Process; 2],
    api: Process,
}

/// A soak that is longer than this has a load that the workers keep up with: what waits at its end has to be done within the row's bound.
const FULL_LOAD: Duration = Duration::from_secs(60);

/// Memory and open files may not grow by more than this, whatever happens.
const MEMORY_GROWTH: u64 = 96 << 20;
const FILE_GROWTH: usize = 64;

pub(crate) async fn soak(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let proxy = Proxy::to(system.servers.postgres_socket()).await?;
    // One of the two workers reaches Postgres by way of the proxy.
    let programs = [system.program("worker"), system.behind(&proxy, system.program("worker"))?];
    let api = system.api().await?;
    let mut fleet = Fleet {
        workers: [system.started(&programs[0]).await?, system.started(&programs[1]).await?],
        schedulers: [system.scheduler()?, system.scheduler()?],
        programs,
        api,
    };
    let load = match system.soak <= FULL_LOAD {
        true => Load::start(system, 2),
        false => Load::gently(system, 16),
    };
    load.until_accepted(20).await?;
    let began = Instant::now();
    let mut blows = Vec::new();
    while began.elapsed() < system.soak {
        for _ in 0..system.random.random_range(5..30) {
            let act = Act::SleepMillis(system.random.random_range(0..120));
            // Postgres may just be away: then it is not accepted, and nothing is promised.
            let _ = system.accept(&Deed::of(act), Promise::Completed).await;
        }
        let blow = *BLOWS.choose(&mut system.random).context("there are blows")?;
        blows.push(format!("{:.0}s {blow:?}", began.elapsed().as_secs_f32()));
        fleet.suffer(blow, system, &proxy).await.with_context(|| blows.join(", "))?;
        sleep(Duration::from_millis(system.random.random_range(500..3000))).await;
    }
    let counts = load.stop().await?;
    let since = Instant::now();
    let all = async {
        ensure!(counts.others.keys().all(|status| *status == 503), "answers: {:?}", counts.others);
        ask_again(system, &counts).await?;
        let took = system.settle(since, bound).await?;
        fleet.stays_small(system).await?;
        Ok(took)
    };
    all.await.with_context(|| blows.join(", "))
}

impl Fleet {
    async fn suffer(&mut self, blow: Blow, system: &mut System<'_>, proxy: &Proxy) -> Result<()> {
        let pause = Duration::from_millis(system.random.random_range(100..2500));
        let which = system.random.random_range(0..2);
        match blow {
            Blow::KillWorker => {
                self.workers[which].kill()?;
                sleep(pause).await;
                self.workers[which] = self.programs[which].start()?;
            }
            Blow::FreezeWorker => {
                self.workers[which].signal(Signal::STOP);
                sleep(pause * 2).await;
                self.workers[which].signal(Signal::CONT);
            }
            Blow::KillScheduler => {
                self.schedulers[which].kill()?;
                sleep(pause).await;
                self.schedulers[which] = system.scheduler()?;
            }
            Blow::KillApi => {
                self.api.kill()?;
                sleep(pause).await;
                self.api = system.program("api").start()?;
            }
            Blow::FlushRedis => {
                let mut redis = system.servers.redis().await?;
                let _: () = redis::cmd("FLUSHALL").query_async(&mut redis).await?;
            }
            Blow::KillRedis => {
                system.servers.redis.kill();
                sleep(pause).await;
                system.servers.start_redis().await?;
            }
            Blow::HangRedis => {
                system.servers.redis.signal(Signal::STOP);
                sleep(pause).await;
                system.servers.redis.signal(Signal::CONT);
            }
            Blow::RestartPostgres | Blow::KillPostgres => {
                let how = if matches!(blow, Blow::KillPostgres) { Signal::KILL } else { Signal::QUIT };
                system.servers.postgres.end(how);
                sleep(pause).await;
                system.servers.start_postgres().await?;
            }
            Blow::CutWorkerOff => {
                let ways = [Network::BlackHole, Network::HalfOpen, Network::CutAfter(100), Network::Refusing];
                proxy.becomes(*ways.choose(&mut system.random).context("there are ways")?);
                sleep(pause * 2).await;
                proxy.becomes(Network::Sound);
            }
        }
        self.revive(system)
    }

    /// A process that gave up where it should have waited is a failure of its own, except one that was started while a
    /// server was away: an init system would start that again.
    fn revive(&mut self, system: &System<'_>) -> Result<()> {
        for (worker, program) in self.workers.iter_mut().zip(&self.programs) {
            if worker.ended()?.is_some() {
                *worker = program.start()?;
            }
        }
        for scheduler in &mut self.schedulers {
            if scheduler.ended()?.is_some() {
                *scheduler = system.scheduler()?;
            }
        }
        if self.api.ended()?.is_some() {
            self.api = system.program("api").start()?;
        }
        Ok(())
    }

    /// The same work again costs neither memory nor files.
    async fn stays_small(&mut self, system: &mut System<'_>) -> Result<()> {
        self.revive(system)?;
        system.until_ready(Duration::from_secs(30)).await?;
        let mut before = Vec::new();
        for round in 0..3 {
            system.accept_deeds(100, Act::Nothing).await?;
            system.settle(Instant::now(), Duration::from_secs(60)).await?;
            let processes = self.workers.iter().chain(&self.schedulers).chain([&self.api]);
            let now: Vec<_> = processes.map(Process::footprint).collect::<Result<_>>()?;
            if round == 0 {
                before = now;
                continue;
            }
            for ((memory, files), (memory_before, files_before)) in now.into_iter().zip(&before) {
                ensure!(
                    memory < memory_before + MEMORY_GROWTH,
                    "memory grew from {memory_before} to {memory}"
                );
                ensure!(files < files_before + FILE_GROWTH, "open files grew from {files_before} to {files}");
            }
        }
        Ok(())
    }
}
