"""The composition root: every part is built here and handed its collaborators."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

from gateway import errors, given, metrics, salt
from gateway.api import routes
from gateway.api.keyring import Keyring
from gateway.api.parts import PARTS, Background, Parts
from gateway.api.standing import Standing
from gateway.comfy import model_paths
from gateway.comfy.calls import Calls
from gateway.comfy.client import Comfy
from gateway.comfy.folders import ModelFolders
from gateway.comfy.model_paths import MODEL_FOLDERS
from gateway.comfy.nodes import Catalog
from gateway.comfy.recovery import Recovery
from gateway.comfy.supervisor import Snapshot, Supervisor
from gateway.config import Settings
from gateway.delivery import Delivery
from gateway.janitor import Janitor, Lifetimes
from gateway.jobs import state_lock
from gateway.jobs.events import Events
from gateway.jobs.policy import Policy
from gateway.jobs.store import Store, open_store
from gateway.jobs.vault import Vault
from gateway.jobs.waiters import Waiters
from gateway.log import logger
from gateway.lookahead import Lookahead
from gateway.manifest import schema
from gateway.media.inputs import Inputs
from gateway.media.outputs import Folders
from gateway.media.uploads import Uploads
from gateway.models.cache import Cache
from gateway.models.hashes import Hashes
from gateway.models.library import Library
from gateway.models.links import Links
from gateway.models.resolver import Resolver
from gateway.narration import Narration
from gateway.preparation import Preparation, hold_inputs
from gateway.provisioning import Provisioning
from gateway.recycling import Limits as RecyclingLimits
from gateway.recycling import Load, Recycling
from gateway.runner import Runner
from gateway.settlement import Settlement
from gateway.shutdown import Shutdown, come_back
from gateway.sidecars import Sidecars
from gateway.storage.azure_account import account_url
from gateway.storage.download import Downloader
from gateway.storage.fetcher import Fetcher
from gateway.storage.providers import Providers
from gateway.warmup import NamedGraphs, WarmUp
from gateway.webhooks.schedule import Schedule
from gateway.webhooks.sender import Sender
from gateway.webhooks.signature import Signer
from gateway.webhooks.system import Notifier, SystemEvents
from gateway.worker import Worker
from gateway.workflows.catalog import Catalog as Workflows
from gateway.workflows.catalog import Conversion
from gateway.workflows.python.scripts import Scripts

#: Between "not ready" and the closed listener: balancers look every few seconds.
GRACE_S = 1.0


class Gateway:
    """The running gateway; its parts start in the order of `application`, and end in reverse."""

    store: Store
    providers: Providers
    events: Notifier
    uploads: Uploads
    fetcher: Fetcher
    inputs: Inputs
    session: aiohttp.ClientSession
    library: Library
    folders: ModelFolders
    resolver: Resolver
    preparation: Preparation
    sidecars: Sidecars
    workflows: Workflows
    scripts: Scripts
    reading: Conversion
    comfy: Comfy
    runner: Runner
    warmup: WarmUp
    supervisor: Supervisor
    lookahead: Lookahead
    worker: Worker
    waiters: Waiters
    live_events: Events
    provisioning: Provisioning
    recycling: Recycling

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.manifest = schema.load(settings)
        self.keyring = Keyring.load(settings.api_keys, settings.api_keys_file)
        self.vault = Vault()
        self.nodes = Catalog()
        self.background = Background()
        self.is_draining = False
        self.shutdown = Shutdown()

    def application(self) -> web.Application:
        """Return the HTTP application that starts and stops the parts."""
        app = routes.application(int(self.settings.max_body_size_mb * 1024 * 1024))
        app.cleanup_ctx.extend(
            [
                self._open_store,
                self._open_storage,
                self._open_sender,
                self._open_session,
                self._open_models,
                self._open_workflows,
                self._open_runner,
                self._open_engine,
                self._open_worker,
            ]
        )
        return app

    # The parts

    async def _open_store(self, _: web.Application) -> AsyncIterator[None]:
        with state_lock.held(self.settings.state):
            model_paths.prepare(self.settings)
            url = f"sqlite:{self.settings.state / 'jobs.db'}"
            self.store = await open_store(url, policy=Policy.of(self.settings))
            self.waiters = Waiters(self.store)
            self.live_events = Events()
            async with (
                self.shutdown.running(self.waiters.run(self.store.watch())),
                self.shutdown.running(self.live_events.follow(self.store.watch())),
                self.shutdown.running(self.live_events.look(self.store)),
            ):
                yield
            await self.store.close()

    async def _open_storage(self, _: web.Application) -> AsyncIterator[None]:
        async with (
            Providers.open(self.settings) as self.providers,
            SystemEvents.open(self.settings, self.providers.http) as self.events,
            Fetcher(self.providers).run() as self.fetcher,
        ):
            account = account_url(self.settings.azure_storage_connection_string)
            self.uploads = Uploads(self.providers, notify=self.events.notify, azure_account=account)
            self.inputs = await Inputs.open(self.settings, self.fetcher)
            await hold_inputs(self.store, self.inputs)
            yield

    async def _open_workflows(self, _: web.Application) -> AsyncIterator[None]:
        """Read the folder of named workflows before the first request, and follow it."""
        folder, deepest = self.settings.workflows, self.settings.max_json_depth
        self.reading = Conversion(lambda: self.nodes.definitions, given.embedded_in, deepest)
        async with Scripts.open(definitions=self.reading.definitions) as self.scripts:
            self.workflows = Workflows(folder, self.scripts, routes.is_taken, self.reading)
            await self.workflows.load(patience_s=2)
            async with self.shutdown.running(self.workflows.run()):
                yield

    async def _open_sender(self, _: web.Application) -> AsyncIterator[None]:
        settings = self.settings
        sender = Sender(
            self.store,
            self.providers.receivers,
            Signer(settings.webhook_key),
            Schedule(settings.webhook_delays, settings.webhook_attempts),
            self.waiters.answered,
        )
        async with self.shutdown.running(sender.run()):
            yield
            # What the last jobs owe goes out too, as far as it is heard at once.
            await sender.finish()

    async def _open_session(self, _: web.Application) -> AsyncIterator[None]:
        """Open the one pool of connections to the child."""
        # Proxies of the environment are for the world outside, never for the child.
        async with aiohttp.ClientSession(
            trust_env=False, connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
        ) as self.session:
            self.folders = ModelFolders(self.settings.comfy_url, self.session, MODEL_FOLDERS)
            yield

    async def _open_models(self, _: web.Application) -> AsyncIterator[None]:
        settings = self.settings
        downloader = Downloader(self.providers)
        searched = model_paths.searched(settings)
        links = Links(settings.models, settings.cache, model_paths.links(settings), searched)
        async with Cache.open(settings, downloader, self.providers, self.events.notify) as cache:
            self.library = Library(self.providers, cache, links, self.folders.paths)
            self.preparation = Preparation(self.inputs, self.library, settings.inputs)
            self.provisioning = Provisioning(settings, self.manifest, self.library)
            hashes = Hashes.of(settings, links, self.folders.paths, lambda: self.comfy.occupied > 0)
            self.sidecars = Sidecars(hashes)
            async with self.shutdown.running(hashes.run()):
                yield

    async def _open_runner(self, _: web.Application) -> AsyncIterator[None]:
        """Open what speaks to ComfyUI, and runs jobs in it."""
        settings, session = self.settings, self.session
        self.comfy = Comfy(
            settings.comfy_url,
            session,
            self.nodes,
            stall_s=settings.execution_stall_s,
            on_hang=lambda reason: self.supervisor.restart(reason),  # noqa: PLW0108 - built later
        )
        self.resolver = Resolver(self.folders, self.provisioning.model_inputs())
        recovery = Recovery(self.comfy, Calls(settings.comfy_url, session))
        self.runner = Runner(
            recovery,
            self.preparation,
            delivery := Delivery(self.uploads, self.vault, settings.state / "converted"),
            self.vault,
            Folders(settings.outputs, settings.inputs, settings.temp),
            prepend_filenames=settings.prepend_filenames,
        )
        narration = Narration(self.live_events, self.events)
        self.runner.narration, self.runner.sidecars = narration, self.sidecars
        self.comfy.on_status = narration.on_status
        named = NamedGraphs(self.workflows, self.scripts, self.inputs)
        self.warmup = WarmUp(
            settings, self.fetcher, self.resolver, self.runner, named, self.reading
        )
        self.comfy.on_leftovers = lambda files: recovery.cleaning(
            self.background.spawn(self.runner.discard_leftovers(files))
        )
        yield
        await self.comfy.disconnect("The gateway is stopping.")
        await delivery.finish()
        await self.background.finish()

    async def _open_engine(self, _: web.Application) -> AsyncIterator[None]:
        """Start ComfyUI, and restart it when that is due."""
        settings = self.settings
        self.supervisor = Supervisor(
            settings,
            self.session,
            warm_up=self._warm_up,
            on_restart=lambda reason: metrics.child_restarts_total.labels(reason).inc(),
            install=self.provisioning.before_start,
        )
        self.recycling = Recycling(
            RecyclingLimits(settings.recycle_after_jobs, settings.recycle_rss_gb),
            self.supervisor,
            lambda: Load(self.comfy.occupied, self.worker.arriving, self.is_draining),
            self._resume,
        )
        self.runner.on_executed = self.recycling.ran
        self.supervisor.on_line = self.comfy.heard
        self.supervisor.on_change(self._engine_changed)
        await self.supervisor.start()
        async with (
            self.shutdown.running(self._follow_child()),
            self.shutdown.running(self._follow_manifest()),
        ):
            yield
        await self.supervisor.stop()

    async def _open_worker(self, app: web.Application) -> AsyncIterator[None]:
        settings = self.settings
        depth = settings.comfy_queue_depth
        self.lookahead = Lookahead(
            self.store,
            self.runner,
            self._let_go,
            queue_depth=depth,
            prepare_concurrency=settings.prepare_concurrency,
        )
        settlement = Settlement(
            self.store, self.runner, self.lookahead.ready, self.gpu_lost, settings.max_attempts
        )
        self.worker = Worker(self.store, self.comfy, self, self.lookahead, settlement, depth)
        lifetimes = Lifetimes.of(settings)
        janitor = Janitor(self.store, self.waiters, self.inputs, self.runner.discard, lifetimes)
        app[PARTS] = self._parts()
        async with contextlib.AsyncExitStack() as stack:
            changes = self.store.watch()
            for loop in (
                self.worker.follow(changes),
                self.worker.keep(),
                self.worker.listen(),
                self.worker.run(),
                self.recycling.run(),
                janitor.run(),
            ):
                await stack.enter_async_context(self.shutdown.running(loop))
            yield
            await self.worker.drain(0)

    def _parts(self) -> Parts:
        return Parts(
            settings=self.settings,
            store=self.store,
            events=self.live_events,
            waiters=self.waiters,
            vault=self.vault,
            inputs=self.inputs,
            uploads=self.uploads,
            models=self.library,
            folders=self.folders,
            resolver=self.resolver,
            catalog=self.comfy.catalog,
            workflows=self.workflows,
            scripts=self.scripts,
            refresh_classes=self.comfy.refresh,
            discard=self.runner.discard,
            keyring=self.keyring,
            health=self,
            background=self.background,
            check_url=self.providers.http.check,
            is_preparing=self.lookahead.is_preparing,
            salt=salt.read(self.settings.state / "salt"),
        )

    # What the parts tell each other

    @property
    def is_ready(self) -> bool:
        """Whether jobs may be sent to ComfyUI."""
        return (
            not self.is_draining
            and self.supervisor.snapshot.reason is None
            and self.comfy.is_connected
            and not self.recycling.is_due
        )

    def _resume(self) -> None:
        self.worker.wake()

    async def gpu_lost(self) -> None:
        """Start ComfyUI anew; what else it had goes back to the queue, at no cost."""
        await self.comfy.disconnect("The GPU is lost.", is_counted=False)
        self.background.spawn(self.supervisor.restart("gpu_lost"))

    def standing(self) -> Standing:
        """Return how the gateway stands, for probes and for new prompts."""
        return Standing.of(self.supervisor.snapshot, is_draining=self.is_draining)

    async def _warm_up(self) -> None:
        await self.comfy.connect()
        await self.workflows.convert_anew()
        await self.sidecars.connected(Calls(self.settings.comfy_url, self.session))
        # The ComfyUI that ran them is gone: this one could not have its port else.
        await self.runner.discard_cut_off(self.store.cut_off)
        self.store.cut_off.clear()
        await self.warmup.run()

    def _engine_changed(self, snapshot: Snapshot) -> None:
        if snapshot.state in ("crashed", "stopped", "starting"):
            gone = self.comfy.disconnect(snapshot.detail or "", last_lines=snapshot.last_lines)
            self.background.spawn(gone)
        self.worker.wake()

    async def _follow_manifest(self) -> None:
        await self.provisioning.after_start(self.supervisor.wait_ready)
        await asyncio.Event().wait()

    async def _follow_child(self) -> None:
        """End with the child where ALWAYS_RESTART_COMFYUI or ON_MANIFEST_ERROR asks for that."""
        try:
            exit_code = await self.supervisor.wait_gave_up()
        except errors.InstallFailed as failure:
            logger.critical(
                "ComfyUI is not started: the manifest could not be carried out",
                reason=failure.message,
                hint=failure.hint or "ON_MANIFEST_ERROR=skip starts it all the same.",
            )
            exit_code = 1
        self.shutdown.ask(exit_code)
        await asyncio.Event().wait()

    def _let_go(self, job_id: str) -> None:
        self.vault.forget(job_id)
        self.preparation.release(job_id)

    # The end

    async def drain(self) -> None:
        """Say "not ready", let running jobs finish, tell the others to come back."""
        self.is_draining = True
        logger.info("draining")
        self.waiters.give_up(come_back, keep=self.worker.running)
        self.live_events.end(keep=self.worker.running)
        await self.shutdown.wait_for(
            self.worker.drain(self.settings.drain_timeout_s), asyncio.sleep(GRACE_S)
        )
        self.background.give_up()
        self.waiters.give_up(come_back, keep=set())
        self.live_events.end(keep=set())
