//! A plain TCP relay on the engine: `relay LISTEN TARGET [CPU]`. What the engine costs alone, to compare it
//! with other proxies.

use std::cell::RefCell;
use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::{Duration, Instant};

use glommio::{LocalExecutorBuilder, Placement};
use passage_shards::engine::{Accept, Engine, Settings};

const IDLE: Duration = Duration::from_secs(300);
const CONNECT: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, target, cpu @ ..] = arguments.as_slice() else {
        return Err("relay LISTEN TARGET [CPU]".into());
    };
    let listener = TcpListener::bind(listen)?;
    socket2::SockRef::from(&listener).listen(4096)?;
    socket2::SockRef::from(&listener).set_tcp_nodelay(true)?;
    let target: SocketAddr = target.parse()?;
    let placement = match cpu.first() {
        Some(cpu) => Placement::Fixed(cpu.parse()?),
        None => Placement::Unbound,
    };
    Engine::probe()?;
    let executor = LocalExecutorBuilder::new(placement)
        .io_memory(64 * 1024)
        .preempt_timer(Duration::from_millis(100));
    let shard = executor
        .spawn(move || async move { serve(listener, target).await.map_err(|error| error.to_string()) });
    shard
        .map_err(|error| error.to_string())?
        .join()
        .map_err(|error| error.to_string())??;
    Ok(())
}

async fn serve(listener: TcpListener, target: SocketAddr) -> Result<(), Box<dyn Error>> {
    let engine = Engine::new(Settings::default())?;
    let failed = Rc::new(RefCell::new(None));
    let _listening = engine.listen(listener, {
        let (engine, failed) = (engine.clone(), failed.clone());
        Box::new(move |accept| match accept {
            Accept::Socket(socket) => {
                let client = engine.adopt(socket);
                let engine = engine.clone();
                glommio::spawn_local(async move {
                    if let Ok(target) = engine.connect(target, Instant::now() + CONNECT).await {
                        engine.relay(client, target, Vec::new(), IDLE, Box::new(|_| {}));
                    }
                })
                .detach();
            }
            Accept::Transient(_) => {}
            Accept::Fatal(error) => {
                *failed.borrow_mut() = Some(error);
                engine.stop();
            }
        })
    })?;
    engine.run().await;
    failed.take().map_or(Ok(()), |error| Err(error.into()))
}
