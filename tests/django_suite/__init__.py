"""Django's own tests of files, run on our storages.

The tests write ``FileSystemStorage(…)`` themselves, so that a storage in ``STORAGES`` alone would
not be tested: `program` replaces one import in each of nine modules by `adapter`. It runs in a
process of its own, with a Django of any version whose source archive it knows.
"""
