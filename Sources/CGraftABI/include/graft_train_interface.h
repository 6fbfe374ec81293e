/* What the graph of a training step and the C round it agree on: inputs that the library writes
 * itself, the columns of its hyperparameters, the elements of its settings. TrainingInterface.swift
 * has the same, and a test compares the two. Callers of graft_train.h need none of it.
 */
#ifndef GRAFT_TRAIN_INTERFACE_H
#define GRAFT_TRAIN_INTERFACE_H

#define GRAFT_INPUT_HYPERPARAMETERS "hyperparameters" /* [groups, GRAFT_COLUMNS], float32 */
#define GRAFT_INPUT_SETTINGS "settings"               /* [GRAFT_SETTINGS], float32 */
#define GRAFT_INPUT_RANDOM "random"                   /* [GRAFT_RANDOM_WORDS], int32 */

enum {
  GRAFT_COLUMN_LEARNING_RATE,
  GRAFT_COLUMN_MOMENTUM,
  GRAFT_COLUMN_WEIGHT_DECAY,
  GRAFT_COLUMN_BETA1,
  GRAFT_COLUMN_BETA2,
  GRAFT_COLUMN_EPSILON,
  GRAFT_COLUMN_BIAS_CORRECTION1, /* 1 - beta1^t at update t, counted from 1 */
  GRAFT_COLUMN_BIAS_CORRECTION2,
  GRAFT_COLUMNS
};

enum {
  GRAFT_SETTING_CLIP_NORM,      /* infinity: no limit */
  GRAFT_SETTING_KEPT_GRADIENTS, /* 1 where the micro-batch adds to those before it, else 0 */
  GRAFT_SETTING_TEMPERATURE,
  GRAFT_SETTINGS = 8 /* the others are 0 */
};

enum { GRAFT_RANDOM_WORDS = 4 };

#endif
