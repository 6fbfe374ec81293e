"""The order of an epoch, as graft_train.h defines it: Fisher and Yates' shuffle on Philox4x32-10
(Salmon et al. 2011) with Lemire's unbiased integers (2019). A second implementation, to check
against.
"""

WORD = 2**32 - 1
PURPOSE = int.from_bytes(b"shuf", "big")


def philox(counter, key):
    """Four words for a counter of four words and a key of two."""
    a, b, c, d = counter
    k, l = key
    for _ in range(10):
        first, second = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = second >> 32 ^ b ^ k, second & WORD, first >> 32 ^ d ^ l, first & WORD
        k, l = (k + 0x9E3779B9) & WORD, (l + 0xBB67AE85) & WORD
    return a, b, c, d


# The known answers of Random123's kat_vectors.
assert philox((0,) * 4, (0,) * 2) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
assert philox((WORD,) * 4, (WORD,) * 2) == (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)
assert philox(
    (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0)
) == (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)


def order(seed, epoch, count, rejected=None):
    """0 … count − 1 in the order of this epoch; draws that were rejected go to a list."""

    def words():
        block, key = 0, (seed & WORD, seed >> 32)
        while True:
            yield from philox((block, PURPOSE, epoch & WORD, epoch >> 32), key)
            block += 1

    source = words()
    result = list(range(count))
    for bound in range(count, 1, -1):
        product = next(source) * bound
        while product & WORD < 2**32 % bound:
            if rejected is not None:
                rejected.append(product)
            product = next(source) * bound
        chosen = product >> 32
        result[bound - 1], result[chosen] = result[chosen], result[bound - 1]
    return result


def digest(seed, epoch, count):
    """The first entries of a long order, and the sum of position times entry modulo 2^64."""
    rejected = []
    entries = order(seed, epoch, count, rejected)
    assert rejected, "choose other numbers: no draw was rejected"
    total = sum(i * entry for i, entry in enumerate(entries)) % 2**64
    return {"seed": str(seed), "epoch": epoch, "count": count, "first": entries[:8],
            "last": entries[-8:], "sum": str(total)}
