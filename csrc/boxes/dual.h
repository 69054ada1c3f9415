// Dual numbers, for gradients: a number with its N partial derivatives. A formula of box.h, run on duals, gives its own
// gradient, so that no derivative is written by hand.
#pragma once

#include "boxes/box.h"

namespace yolox_ops {

template <class T, int N>
struct Dual {
  T value;
  T partial[N];

  YOLOX_OPS_INLINE Dual(T v = T(0)) : value(v) {
    for (int i = 0; i < N; ++i) partial[i] = T(0);
  }

  // The independent variable number `index`.
  static YOLOX_OPS_INLINE Dual variable(T v, int index) {
    Dual x(v);
    x.partial[index] = T(1);
    return x;
  }

  // A function's value and its derivatives by a and by b.
  static YOLOX_OPS_INLINE Dual chain(T value, const Dual& a, T by_a, const Dual& b, T by_b) {
    Dual z(value);
    for (int i = 0; i < N; ++i) z.partial[i] = a.partial[i] * by_a + b.partial[i] * by_b;
    return z;
  }

  friend YOLOX_OPS_INLINE Dual operator+(const Dual& a, const Dual& b) {
    return chain(a.value + b.value, a, T(1), b, T(1));
  }
  friend YOLOX_OPS_INLINE Dual operator-(const Dual& a, const Dual& b) {
    return chain(a.value - b.value, a, T(1), b, T(-1));
  }
  friend YOLOX_OPS_INLINE Dual operator*(const Dual& a, const Dual& b) {
    return chain(a.value * b.value, a, b.value, b, a.value);
  }
  friend YOLOX_OPS_INLINE Dual operator/(const Dual& a, const Dual& b) {
    const T z = a.value / b.value;
    return chain(z, a, T(1) / b.value, b, -z / b.value);
  }
  // Member by member, as a branch between two structures would not become vector code.
  friend YOLOX_OPS_INLINE Dual choose(bool first, const Dual& a, const Dual& b) {
    Dual z(first ? a.value : b.value);
    for (int i = 0; i < N; ++i) z.partial[i] = first ? a.partial[i] : b.partial[i];
    return z;
  }
  friend YOLOX_OPS_INLINE bool operator>(const Dual& a, const Dual& b) { return a.value > b.value; }
  friend YOLOX_OPS_INLINE bool operator<(const Dual& a, const Dual& b) { return a.value < b.value; }
  friend YOLOX_OPS_INLINE bool operator==(const Dual& a, const Dual& b) { return a.value == b.value; }

  friend YOLOX_OPS_INLINE Dual atan2_(const Dual& y, const Dual& x) {
    const T square = y.value * y.value + x.value * x.value;
    const T scale = square > T(0) ? T(1) / square : T(0);
    return chain(yolox_ops::atan2_(y.value, x.value), y, x.value * scale, x, -y.value * scale);
  }
};

template <class T, int N>
YOLOX_OPS_INLINE Dual<T, N> detached(const Dual<T, N>& a) {
  return Dual<T, N>(a.value);
}

// A box whose four numbers are the variables first .. first + 3.
template <class T, int N>
YOLOX_OPS_INLINE Box<Dual<T, N>> variable_box(const T* p,  // [4]
                                              int first, Format format, Kind kind) {
  using D = Dual<T, N>;
  Box<D> box = make_box<D>(format, D::variable(p[0], first), D::variable(p[1], first + 1), D::variable(p[2], first + 2),
                           D::variable(p[3], first + 3));
  if (kind == Kind::kCiou) set_angle(box);
  return box;
}

// A box without derivatives among boxes that have them.
template <class D, class T>
YOLOX_OPS_INLINE Box<D> fixed_box(const Box<T>& b) {
  return {D(b.x1), D(b.y1), D(b.x2), D(b.y2), D(b.area), D(b.angle)};
}

// similarity as a function of its first box or of its second. The order matters where two corners are equal: both
// gradients then follow the same choice between them.
template <Kind kind, bool first, class D>
YOLOX_OPS_INLINE D similarity_by(const Box<D>& box, const Box<D>& other) {
  return first ? similarity<kind>(box, other) : similarity<kind>(other, box);
}

}  // namespace yolox_ops
