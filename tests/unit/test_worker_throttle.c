#include "tests/lib/harness.h"
TEST_MAIN("x")
