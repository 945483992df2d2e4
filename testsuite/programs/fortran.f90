! Fortran: a number, a text, an array of a module that keeps its state, an allocatable array, an internal procedure.
!#Hazard: C1,C17,D1,D2
!#Matrix: cc=gfortran opt=-O0,-O2 kind=pie,shared
!#Expect: live
!#Warm: add
!#Warm: add
!#Call: scale
!#Call: table
!#After: add => calls until now 4 and 6.00
!#Reverted: add => calls 5
module kept
  use iso_c_binding
  implicit none
  integer :: calls = 0
  real(8) :: sums(4) = [1.5d0, 0d0, 0d0, 0d0]
contains
  function scale(x) result(y)
    real(8), intent(in) :: x
    real(8) :: y
#ifdef NEW
    y = 3.0d0 * x + 1.0d0
#else
    y = 2.0d0 * x
#endif
  end function

  subroutine add()
    calls = calls + 1
    sums(1) = sums(1) + 1.5d0
#ifdef NEW
    calls = calls + 1
    sums(1) = sums(1) + 0d0
    write (*, '(a,1x,i0,1x,a,1x,f0.2)') 'calls until now', calls, 'and', sums(1)
#else
    write (*, '(a,1x,i0)') 'calls', calls
#endif
  end subroutine

  subroutine table(n)
    integer, intent(in) :: n
    real(8), allocatable :: values(:)
    integer :: i
    allocate (values(n))
    values = [(weight(i), i = 1, n)]
    write (*, '(f0.3)') sum(values)
  contains
    function weight(k) result(w)
      integer, intent(in) :: k
      real(8) :: w
#ifdef NEW
      w = sqrt(real(k, 8)) / n
#else
      w = real(k, 8) / n
#endif
    end function
  end subroutine

  subroutine command(line) bind(c)
    character(kind=c_char), intent(in) :: line(*)
    select case (line(1))
    case ('s')
      write (*, '(3f8.2)') scale(1.0d0), scale(2.5d0), scale(-4.0d0)
    case ('t')
      call table(5)
    case default
      call add()
    end select
    flush (6)
  end subroutine
end module
