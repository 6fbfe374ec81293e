/* The order of an epoch: Fisher and Yates' shuffle, with numbers that are a function of seed, epoch
 * and position alone, so that any machine finds the same order and none has to be kept.
 */
#include "graft_training.h"

void graft_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t result[4]) {
  uint32_t x0 = counter[0], x1 = counter[1], x2 = counter[2], x3 = counter[3];
  uint32_t k0 = key[0], k1 = key[1];
  for (int round = 0; round < 10; round++) {
    const uint64_t a = (uint64_t)0xD2511F53u * x0, b = (uint64_t)0xCD9E8D57u * x2;
    x0 = (uint32_t)(b >> 32) ^ x1 ^ k0;
    x1 = (uint32_t)b;
    x2 = (uint32_t)(a >> 32) ^ x3 ^ k1;
    x3 = (uint32_t)a;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  result[0] = x0, result[1] = x1, result[2] = x2, result[3] = x3;
}

/* The words of one epoch, in order. */
typedef struct stream {
  uint32_t key[2];     /* the seed */
  uint32_t counter[4]; /* block number, what the numbers are for, epoch */
  uint32_t words[4];
  unsigned used;
} stream;

/* Keeps these numbers apart from others of the same seed, such as dropout's: "shuf" in ASCII. */
#define PURPOSE 0x73687566u

static uint32_t next_word(stream *stream) {
  if (stream->used == 4) {
    graft_philox(stream->counter, stream->key, stream->words);
    stream->counter[0]++; /* rejections aside a shuffle takes at most 2^30 blocks */
    stream->used = 0;
  }
  return stream->words[stream->used++];
}

/* Below `bound`, each number equally likely: the high half of a product, drawn again where the low
 * half shows that the number would come up once too often (Lemire 2019). */
static uint32_t next_below(stream *stream, uint32_t bound) {
  uint64_t product = (uint64_t)next_word(stream) * bound;
  if ((uint32_t)product < bound) {
    const uint32_t excess = -bound % bound; /* 2^32 modulo bound */
    while ((uint32_t)product < excess) product = (uint64_t)next_word(stream) * bound;
  }
  return (uint32_t)(product >> 32);
}

void graft_shuffle(uint64_t seed, uint64_t epoch, uint32_t count, uint32_t *order) {
  stream stream = {
      .key = {(uint32_t)seed, (uint32_t)(seed >> 32)},
      .counter = {0, PURPOSE, (uint32_t)epoch, (uint32_t)(epoch >> 32)},
      .used = 4,
  };
  for (uint32_t i = 0; i < count; i++) order[i] = i;
  for (uint32_t i = count; i > 1; i--) {
    const uint32_t j = next_below(&stream, i);
    const uint32_t kept = order[i - 1];
    order[i - 1] = order[j];
    order[j] = kept;
  }
}
