"""No-op tasks through Celery: one worker process of threads, the tasks waiting before it begins. Prints tasks a second.

Arguments: the socket of a Redis, how many tasks, how many at once. Results are not kept, tasks are acknowledged when they are done.
"""

import os
import sys
import threading
import time

from celery import Celery

path, tasks, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
app = Celery("peer", broker=f"redis+socket://{path}")
app.conf.update(task_ignore_result=True, task_acks_late=True, worker_prefetch_multiplier=4, worker_redirect_stdouts=False)
done = 0
times = []
lock = threading.Lock()
finished = threading.Event()


@app.task(name="noop")
def noop():
    global done
    with lock:
        done += 1
        if done in (1, tasks):
            times.append(time.perf_counter())
        if done == tasks:
            finished.set()


with app.producer_pool.acquire(block=True) as producer:
    for _ in range(tasks):
        noop.apply_async(producer=producer)

arguments = ["--quiet", "worker", "--pool", "threads", "--concurrency", str(threads), "--loglevel", "ERROR"]
arguments += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
threading.Thread(target=app.worker_main, args=(arguments,), daemon=True).start()
finished.wait(timeout=300)
print((done - 1) / (times[-1] - times[0]))
sys.stdout.flush()
# The worker would wait for a signal.
os._exit(0 if done == tasks else 1)
