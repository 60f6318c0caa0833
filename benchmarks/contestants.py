"""What a user would pick instead of ours, each as it is documented to be used, on one bucket."""

from __future__ import annotations

import io
import itertools
import uuid
from typing import TYPE_CHECKING, Any

from measure import OURS

if TYPE_CHECKING:
    from collections.abc import Callable

    from obstore.store import S3Store

    from rex.attach import Storage
    from rex.attach_demo.seaweedfs import SeaweedFS

__all__ = ["Peers", "obstore_on"]


def obstore_on(server: SeaweedFS) -> S3Store:
    """Give obstore alone, on the server's bucket."""
    from obstore.store import S3Store

    return S3Store(
        server.bucket,
        endpoint=server.endpoint,
        region=server.region,
        access_key_id=server.access_key,
        secret_access_key=server.secret_key,
        client_options={"allow_http": True},
    )


class Peers:
    """All of them on a throwaway server; imports happen here, and are not measured."""

    def __init__(self, server: SeaweedFS) -> None:
        from rex.attach import open_storage

        self.server = server
        self.bucket = server.bucket
        self._names = itertools.count()
        keys = {"access_key": server.access_key, "secret_key": server.secret_key}
        url = f"s3://{server.bucket}?endpoint={server.endpoint}"
        self.rex: Storage = open_storage(url, **keys)
        self.obstore = obstore_on(server)
        self.boto3 = self._boto3()
        self.minio = self._minio()

    def close(self) -> None:
        """Let go of ours."""
        self.rex.close()

    def key(self) -> str:
        """Give a new key, as long as ours are."""
        return f"2026/01/01/{uuid.uuid4()}/{next(self._names)}.bin"

    def adders(self, content: bytes) -> dict[str, Callable[[], object]]:
        """Give what stores an object under a new key, for each contestant."""
        import obstore

        django = self.django()
        files = self.s3fs()
        smart_open, transport = self.smart_open()
        cloud = self.cloudpathlib()

        def by_django() -> object:
            from django.core.files.base import ContentFile

            return django.save(self.key(), ContentFile(content))

        def by_s3fs() -> None:
            with files.open(f"{self.bucket}/{self.key()}", "wb") as file:
                file.write(content)

        def by_smart_open() -> None:
            with smart_open(f"s3://{self.bucket}/{self.key()}", "wb", **transport) as file:
                file.write(content)

        return {
            OURS: lambda: self.rex.add("a.bin", content),
            "obstore": lambda: obstore.put(self.obstore, self.key(), content),
            "django-storages": by_django,
            "boto3 upload_fileobj": lambda: self.boto3.upload_fileobj(
                io.BytesIO(content), self.bucket, self.key()
            ),
            "boto3 put_object": lambda: self.boto3.put_object(
                Bucket=self.bucket, Key=self.key(), Body=content
            ),
            "s3fs": by_s3fs,
            "smart_open": by_smart_open,
            "cloudpathlib": lambda: cloud.CloudPath(f"s3://{self.bucket}/{self.key()}").write_bytes(
                content
            ),
            "minio": lambda: self.minio.put_object(
                self.bucket, self.key(), io.BytesIO(content), len(content)
            ),
        }

    def readers(self, handle: str) -> dict[str, Callable[[], object]]:
        """Give what reads a whole object, for each contestant."""
        import obstore

        key = handle[1:]
        django = self.django()
        files = self.s3fs()
        smart_open, transport = self.smart_open()
        cloud = self.cloudpathlib()

        def by_rex() -> bytes:
            with self.rex.open(handle) as stream:
                return stream.read()

        def by_django() -> bytes:
            with django.open(key) as file:
                content: bytes = file.read()
                return content

        def by_boto3() -> bytes:
            file = io.BytesIO()
            self.boto3.download_fileobj(self.bucket, key, file)
            return file.getvalue()

        def by_s3fs() -> bytes:
            with files.open(f"{self.bucket}/{key}", "rb") as file:
                content: bytes = file.read()
                return content

        def by_smart_open() -> bytes:
            with smart_open(f"s3://{self.bucket}/{key}", "rb", **transport) as file:
                content: bytes = file.read()
                return content

        def by_cloudpathlib() -> bytes:
            path = cloud.CloudPath(f"s3://{self.bucket}/{key}")
            content: bytes = path.read_bytes()
            path.clear_cache()  # or else the next one would be read from this machine's disk
            return content

        def by_minio() -> bytes:
            answer = self.minio.get_object(self.bucket, key)
            try:
                return answer.read()
            finally:
                answer.close()
                answer.release_conn()

        return {
            OURS: by_rex,
            "obstore": lambda: bytes(obstore.get(self.obstore, key).bytes()),
            "django-storages": by_django,
            "boto3 download_fileobj": by_boto3,
            "boto3 get_object": lambda: self.boto3.get_object(Bucket=self.bucket, Key=key)[
                "Body"
            ].read(),
            "s3fs": by_s3fs,
            "smart_open": by_smart_open,
            "cloudpathlib": by_cloudpathlib,
            "minio": by_minio,
        }

    def _boto3(self) -> Any:
        import boto3

        return boto3.client("s3", **self._for_boto3())

    def _for_boto3(self) -> dict[str, Any]:
        return {
            "endpoint_url": self.server.endpoint,
            "region_name": self.server.region,
            "aws_access_key_id": self.server.access_key,
            "aws_secret_access_key": self.server.secret_key,
        }

    def _minio(self) -> Any:
        from minio import Minio

        return Minio(
            endpoint=self.server.endpoint.removeprefix("http://"),
            access_key=self.server.access_key,
            secret_key=self.server.secret_key,
            region=self.server.region,
            secure=False,
        )

    def django(self) -> Any:
        """Give a storage of django-storages."""
        from django.conf import settings

        if not settings.configured:
            settings.configure()
        from storages.backends.s3 import S3Storage

        return S3Storage(
            bucket_name=self.bucket,
            endpoint_url=self.server.endpoint,
            region_name=self.server.region,
            access_key=self.server.access_key,
            secret_key=self.server.secret_key,
        )

    def s3fs(self) -> Any:
        """Give a file system of s3fs."""
        import s3fs

        return s3fs.S3FileSystem(
            key=self.server.access_key,
            secret=self.server.secret_key,
            endpoint_url=self.server.endpoint,
            client_kwargs={"region_name": self.server.region},
            skip_instance_cache=True,
            use_listings_cache=False,
        )

    def smart_open(self) -> tuple[Any, dict[str, Any]]:
        """Give smart_open's function, and what makes it use this server."""
        import smart_open

        return smart_open.open, {"transport_params": {"client": self.boto3}}

    def cloudpathlib(self) -> Any:
        """Give a client of cloudpathlib."""
        from cloudpathlib import S3Client

        return S3Client(
            endpoint_url=self.server.endpoint,
            aws_access_key_id=self.server.access_key,
            aws_secret_access_key=self.server.secret_key,
        )
