"""The assets and their thumbnails: one SQLite file, shared by all worker processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from sqlalchemy import (
    Connection,
    DateTime,
    Engine,
    ForeignKey,
    String,
    create_engine,
    func,
    insert,
    make_url,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from asset_forge.seed import SEED_ASSETS

BUSY_TIMEOUT_S = 10.0
EXPORT_BATCH = 50


class Base(DeclarativeBase):
    """The tables of the asset database."""


class Asset(Base):
    """One 3D asset."""

    __tablename__ = "assets"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), index=True)
    kind: Mapped[str] = mapped_column(String(20))
    polygons: Mapped[int] = mapped_column(default=0)
    description: Mapped[str] = mapped_column(String(500), default="")
    source: Mapped[str] = mapped_column(String(20), default="upload")
    has_thumbnail: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(DateTime, default=lambda: _now())

    def as_json(self) -> dict[str, object]:
        """Return the asset as the API shows it."""
        return {
            "id": self.id,
            "name": self.name,
            "kind": self.kind,
            "polygons": self.polygons,
            "description": self.description,
            "source": self.source,
            "hasThumbnail": self.has_thumbnail,
            "createdAt": self.created_at.isoformat(timespec="seconds") + "Z",
        }


class Thumbnail(Base):
    """The picture of one asset, a PNG of a few kilobytes."""

    __tablename__ = "thumbnails"

    asset_id: Mapped[int] = mapped_column(ForeignKey("assets.id"), primary_key=True)
    png: Mapped[bytes] = mapped_column()


@dataclass(frozen=True)
class NewAsset:
    """What is known of an asset before it is stored."""

    name: str
    kind: str
    polygons: int = 0
    description: str = ""
    source: str = "upload"


@dataclass(frozen=True)
class Page:
    """One page of the asset list and the number of assets in all."""

    assets: list[Asset]
    total: int


class AssetStore:
    """Reads and writes assets; safe to share between threads, one per process."""

    def __init__(self, database_url: str) -> None:
        """Open the database, and make and seed it if it is new."""
        path = make_url(database_url).database
        assert path is not None, "settings accept only SQLite files"
        self.folder = Path(path).parent
        self.folder.mkdir(parents=True, exist_ok=True)
        self.engine = create_engine(database_url, connect_args={"timeout": BUSY_TIMEOUT_S})
        self._session = sessionmaker(self.engine, expire_on_commit=False)
        prepare(self.engine)

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()

    def get(self, asset_id: int) -> Asset | None:
        """Return one asset with exactly one query, or None."""
        with self._session() as session:
            return session.get(Asset, asset_id)

    def page(self, offset: int, limit: int) -> Page:
        """Return assets in the order of their ids, newest last."""
        with self._session() as session:
            total = session.scalar(select(func.count()).select_from(Asset)) or 0
            rows = session.scalars(select(Asset).order_by(Asset.id).offset(offset).limit(limit))
            return Page(list(rows), total)

    def search(self, text: str, limit: int) -> list[Asset]:
        """Return assets whose name or description holds the text, whatever the case."""
        matches = Asset.name.icontains(text, autoescape=True) | Asset.description.icontains(text, autoescape=True)
        with self._session() as session:
            return list(session.scalars(select(Asset).where(matches).order_by(Asset.id).limit(limit)))

    def add(self, new: NewAsset, png: bytes | None = None) -> Asset:
        """Store an asset, with its thumbnail if there is one, in one transaction."""
        asset = Asset(
            name=new.name,
            kind=new.kind,
            polygons=new.polygons,
            description=new.description,
            source=new.source,
            has_thumbnail=png is not None,
        )
        with self._session.begin() as session:
            session.add(asset)
            session.flush()
            if png is not None:
                session.add(Thumbnail(asset_id=asset.id, png=png))
        return asset

    def thumbnail(self, asset_id: int) -> bytes | None:
        """Return the PNG of an asset, or None."""
        with self._session() as session:
            return session.scalar(select(Thumbnail.png).where(Thumbnail.asset_id == asset_id))

    def set_thumbnail(self, asset_id: int, png: bytes) -> None:
        """Store or replace the PNG of an asset."""
        row = sqlite_insert(Thumbnail).values(asset_id=asset_id, png=png)
        with self._session.begin() as session:
            session.execute(row.on_conflict_do_update(index_elements=["asset_id"], set_={"png": png}))
            session.execute(update(Asset).where(Asset.id == asset_id).values(has_thumbnail=True))

    def export(self) -> Iterator[Asset]:
        """Yield every asset, a batch per query, so that no read lock outlives a batch."""
        last = 0
        while batch := self._after(last):
            yield from batch
            last = batch[-1].id

    def _after(self, asset_id: int) -> list[Asset]:
        with self._session() as session:
            query = select(Asset).where(Asset.id > asset_id).order_by(Asset.id).limit(EXPORT_BATCH)
            return list(session.scalars(query))


def prepare(engine: Engine) -> None:
    """Make the tables and the first assets once, however many processes start at the same time."""
    deadline = time.monotonic() + 3 * BUSY_TIMEOUT_S
    while True:
        try:
            _turn_on_wal(engine)
            with engine.connect() as connection:
                _create_and_seed(connection)
            return
        except OperationalError as error:
            # Switching to WAL ignores the busy timeout when another process is switching too.
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _turn_on_wal(engine: Engine) -> None:
    with engine.connect() as connection:
        if connection.exec_driver_sql("PRAGMA journal_mode").scalar() != "wal":
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")


def _create_and_seed(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # one process at a time looks and creates
    Base.metadata.create_all(connection)
    if not connection.scalar(select(func.count()).select_from(Asset)):
        connection.execute(insert(Asset), [dict(row) for row in SEED_ASSETS])
    connection.commit()


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(tzinfo=None, microsecond=0)
